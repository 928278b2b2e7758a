#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/fpmode.h"
#include "engine/agreement.h"
#include "engine/rank_engine.h"
#include "model/sampler.h"
#include "sched/scheduler.h"

namespace wingspan {
namespace {

// The layers in the model's order, whatever the file's.
Expected<Placement> in_model_order(const ModelConfig& config, const Placement& placement) {
  Placement out = placement;
  out.layers.clear();
  for (int layer : config.moe_layers()) {
    const LayerPlacement* p = placement.find_layer(layer);
    if (p == nullptr) {
      return invalid_input(fmt::format("the placement has no layer {}", layer), "placement",
                           "make a placement for this model");
    }
    out.layers.push_back(*p);
  }
  return out;
}

}  // namespace

Expected<std::shared_ptr<const ModelHost>> load_model_host(
    ModelConfig config, std::shared_ptr<const WeightSource> source, ComputeMode compute,
    int threads, LoadProgress* progress) {
  auto host = std::make_shared<ModelHost>();
  host->config = std::move(config);
  host->compute = compute;
  host->source = std::move(source);
  Pool pool(threads);
  WS_ASSIGN(host->weights,
            load_model_weights(host->config, *host->source, compute, pool, progress));
  return std::shared_ptr<const ModelHost>(std::move(host));
}

Status check_request(const ModelConfig& config, const Request& request) {
  if (request.prompt.empty()) {
    return invalid_input("the prompt is empty", "", "give at least one token");
  }
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    const int32_t id = request.prompt[i];
    if (id >= 0 && id < config.vocab) continue;
    return invalid_input(fmt::format("token id {} at position {} is outside the vocabulary of {}",
                                     id, i, config.vocab),
                         "", "use ids from this model's tokenizer");
  }
  if (request.max_tokens < 0) return invalid_input("max_tokens is negative");
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt > config.max_positions || request.max_tokens > config.max_positions - prompt) {
    return invalid_input(fmt::format("{} prompt tokens and {} to generate exceed the model's {} "
                                     "positions",
                                     prompt, request.max_tokens, config.max_positions),
                         "", "shorten the prompt or ask for fewer tokens");
  }
  const SamplingParams& p = request.sampling;
  for (const auto& [id, bias] : p.logit_bias) {
    if (id >= 0 && id < config.vocab) continue;
    return invalid_input(
        fmt::format("token id {} is outside the vocabulary of {}", id, config.vocab), "logit_bias",
        "use ids from this model's tokenizer");
  }
  if (request.top_logprobs < 0 || request.top_logprobs > kMaxTopLogprobs) {
    return invalid_input(fmt::format("{} most probable tokens, at most {} are given",
                                     request.top_logprobs, kMaxTopLogprobs),
                         "top_logprobs");
  }
  if (p.min_tokens < 0) return invalid_input("min_tokens is negative", "min_tokens");
  SamplingRule rule;
  rule.temperature = p.temperature;
  rule.top_k = p.top_k;
  rule.top_p = p.top_p;
  rule.min_p = p.min_p;
  rule.presence_penalty = p.presence_penalty;
  rule.frequency_penalty = p.frequency_penalty;
  rule.repetition_penalty = p.repetition_penalty;
  rule.logit_bias = p.logit_bias;
  return check_sampling(rule);
}

Status check_fits(const StepLimits& limits, int64_t prompt_tokens, int64_t max_tokens) {
  SchedulerLimits l;
  l.max_positions = limits.max_positions;
  l.kv_block = static_cast<int>(limits.kv_block);
  l.kv_blocks_per_rank = limits.kv_blocks_per_rank;
  return Scheduler::check(l, prompt_tokens, max_tokens);
}

Expected<std::unique_ptr<Engine>> Engine::create(Group& group,
                                                 std::shared_ptr<const ModelHost> host,
                                                 const Placement& placement,
                                                 const EngineOptions& options,
                                                 LoadProgress* progress) {
  WS_CHECK(options.kernels != nullptr && options.threads >= 1 && options.prefill_chunk >= 1);
  const ModelConfig& config = host->config;
  WS_ASSIGN(Placement ordered, in_model_order(config, placement));
  if (!ordered.layers.empty() && ordered.topology.ranks() != group.size()) {
    return invalid_input(fmt::format("the placement is for {} ranks, the group has {}",
                                     ordered.topology.ranks(), group.size()),
                         "placement");
  }
  auto pool = std::make_unique<Pool>(options.threads, [pin = options.on_thread](int thread) {
    if (pin) pin(thread);
    thread_local FlushSubnormals mode;  // lives as long as the thread
    static_cast<void>(mode);
  });
  RankExperts experts;
  DType expert_dtype = DType::kBF16;
  if (!ordered.layers.empty()) {
    const auto specs = expert_tensors(config, ordered.layers[0].layer, 0);
    WS_ASSIGN(const DType stored, host->source->dtype(specs[0]));
    expert_dtype = stored_weight_type(host->compute, stored);
    WS_ASSIGN(experts, load_rank_experts(config, *host->source, host->compute, ordered,
                                         group.rank(), *pool, progress));
    for (const auto& layer : experts.experts) {
      for (const MlpWeights& e : layer) {
        if (e.gate_up.dtype == expert_dtype && e.down.dtype == expert_dtype) continue;
        return invalid_input("routed experts have different dtypes", "checkpoint",
                             "all of them must be F32, or BF16, or FP8");
      }
    }
  }
  WS_RETURN_IF_ERROR(agree_at_start(group, *host, ordered, experts, options));
  return RankEngine::create(group, std::move(host), std::move(ordered), std::move(experts),
                            expert_dtype, options, std::move(pool));
}

}  // namespace wingspan
