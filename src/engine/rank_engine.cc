#include "engine/rank_engine.h"

#include <algorithm>

#include "base/fpmode.h"
#include "engine/step_loop.h"
#include "engine/wire.h"

namespace wingspan {
namespace {

ForwardLimits limits_of(const ModelConfig& config, const EngineOptions& options,
                        DType expert_dtype) {
  ForwardLimits limits;
  limits.max_rows = options.prefill_chunk + options.max_sequences_per_rank;
  limits.kv_blocks = std::max<int64_t>(1, (options.kv_tokens_per_rank + kKvBlock - 1) / kKvBlock);
  limits.max_positions = std::min(config.max_positions, limits.kv_blocks * kKvBlock);
  limits.expert_dtype = expert_dtype;
  return limits;
}

StepLimits step_limits(const Group& group, const ModelConfig& config, const EngineOptions& options,
                       const ForwardLimits& limits) {
  StepLimits out;
  out.ranks = group.size();
  out.max_sequences_per_rank = options.max_sequences_per_rank;
  out.max_positions = limits.max_positions;
  out.kv_block = kKvBlock;
  out.kv_blocks_per_rank = limits.kv_blocks;
  out.vocab = config.vocab;
  return out;
}

}  // namespace

Expected<std::unique_ptr<Engine>> RankEngine::create(
    Group& group, std::shared_ptr<const ModelHost> host, Placement placement, RankExperts experts,
    DType expert_dtype, const EngineOptions& options, std::unique_ptr<Pool> pool) {
  const ModelConfig& config = host->config;
  const ForwardLimits limits = limits_of(config, options, expert_dtype);
  std::unique_ptr<Exchange> exchange;
  EngineChannels channels;
  if (!placement.layers.empty()) {
    ExchangeShape shape;
    shape.hidden = config.hidden;
    shape.row_dtype = activation_type(host->compute, expert_dtype);
    shape.top_k = config.moe.router.top_k;
    shape.max_rows = limits.max_rows;
    for (int slots : placement.topology.rank_slots) {
      shape.max_local_slots = std::max(shape.max_local_slots, slots);
    }
    WS_ASSIGN(exchange, make_exchange(group, shape));
    const size_t counts = placement.layers.size() * static_cast<size_t>(config.moe.router.experts);
    WS_ASSIGN(channels.load, group.open_channel((counts + 1) * sizeof(int64_t), "load"));
  }
  std::unique_ptr<HeadExchange> head;
  if (group.size() > 1) {
    const DType dtype = activation_type(host->compute, host->weights->head.dtype);
    WS_ASSIGN(head, HeadExchange::create(group, {head_rows(group.size()),
                                                 row_bytes(dtype, config.hidden), config.vocab}));
  }
  std::unique_ptr<JointRows> joint;
  if (options.join_rows == JoinRows::kAlways ||
      (options.join_rows == JoinRows::kWherePays && joining_pays(config))) {
    WS_ASSIGN(joint, JointRows::create(group, joint_shape(config, limits.max_rows)));
  }
  const auto rows = static_cast<size_t>(limits.max_rows);
  // A row can have two entries: a fault, and what its logits give all the same.
  WS_ASSIGN(channels.commit,
            group.open_channel(sizeof(CommitHeader) + 2 * rows * sizeof(CommitEntry) + kOrderBytes,
                               "commit"));
  WS_ASSIGN(channels.tops,
            group.open_channel(rows * (sizeof(TopRecord) + kMaxTopLogprobs * sizeof(TopLogprob)),
                               "tops"));
  return std::unique_ptr<Engine>(
      new RankEngine(group, std::move(host), std::move(placement), std::move(experts), expert_dtype,
                     options, std::move(pool), std::move(exchange), std::move(head),
                     std::move(joint), std::move(channels)));
}

RankEngine::RankEngine(Group& group, std::shared_ptr<const ModelHost> host, Placement placement,
                       RankExperts experts, DType expert_dtype, const EngineOptions& options,
                       std::unique_ptr<Pool> pool, std::unique_ptr<Exchange> exchange,
                       std::unique_ptr<HeadExchange> head, std::unique_ptr<JointRows> joint,
                       EngineChannels channels)
    : group_(group),
      host_(std::move(host)),
      placement_(std::move(placement)),
      experts_(std::move(experts)),
      options_(options),
      limits_(limits_of(host_->config, options, expert_dtype)),
      pool_(std::move(pool)),
      exchange_(std::move(exchange)),
      head_(std::move(head)),
      joint_(std::move(joint)),
      channels_(std::move(channels)),
      step_limits_(step_limits(group, host_->config, options, limits_)),
      ops_(*options.kernels, *pool_, host_->compute),
      forward_(host_->config, *host_->weights, experts_, placement_, group.rank(), exchange_.get(),
               head_.get(), joint_.get(), ops_, limits_, system_clock()),
      samplers_(static_cast<size_t>(options.threads), Sampler(host_->config.vocab)) {}

Expected<std::unique_ptr<StepRunner>> RankEngine::start(const RunOptions& options, RunSink& sink) {
  WS_ASSIGN(auto loop, StepLoop::create(*this, options, sink));
  return std::unique_ptr<StepRunner>(std::move(loop));
}

}  // namespace wingspan
