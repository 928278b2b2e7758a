#include "cli/width_run.h"

#include <algorithm>
#include <cstring>

#include "base/rng.h"
#include "eplb/plan.h"

namespace wingspan {

std::vector<Request> random_requests(const ModelConfig& config, int count, int64_t prompt_tokens,
                                     int64_t new_tokens, uint64_t seed) {
  std::vector<Request> out;
  Rng rng(seed);
  for (int i = 0; i < count; ++i) {
    Request r;
    for (int64_t t = 0; t < prompt_tokens; ++t) {
      r.prompt.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocab))));
    }
    r.max_tokens = new_tokens;
    out.push_back(std::move(r));
  }
  return out;
}

SessionSetup width_setup(const SessionSetup& base, int ranks) {
  SessionSetup setup = base;
  if (base.mpi) return setup;
  setup.ranks = ranks;
  setup.threads_per_rank = std::max(1, base.options.threads / ranks);
  const auto layers = base.config.moe_layers();
  if (layers.empty()) {
    setup.placement.topology.rank_slots = even_rank_slots(1, ranks);
  } else {
    setup.placement = contiguous_placement(base.config.moe.router.experts, layers, ranks);
  }
  return setup;
}

Expected<WidthRun> run_width(const SessionSetup& base, std::shared_ptr<const ModelHost> host,
                             int ranks, const std::vector<Request>& requests, int64_t load_window) {
  SessionSetup loopback = base;
  loopback.mpi = false;
  return run_placed(width_setup(loopback, ranks), std::move(host), requests, load_window);
}

Expected<WidthRun> run_placed(const SessionSetup& setup, std::shared_ptr<const ModelHost> host,
                              const std::vector<Request>& requests, int64_t load_window) {
  const auto layers = setup.config.moe_layers();
  WidthRun out;
  RunOptions run;
  run.load_window_steps = load_window;
  out.ranks = setup.ranks;
  WS_RETURN_IF_ERROR(run_ranks(
      setup, host, limits_for(setup, requests, setup.ranks), [&](RankContext& rank) -> Status {
        RunSink silent;
        WS_ASSIGN(RunReport report, rank.engine.run(requests, run, silent));
        if (rank.group.rank() != 0) return {};
        out.results = std::move(report.results);
        out.prefill = report.prefill;
        out.decode = report.decode;
        out.load = std::move(report.load);
        out.prompt_tokens = report.prompt_tokens;
        out.decode_tokens = report.completion_tokens - static_cast<int64_t>(requests.size());
        out.weight_bytes =
            static_cast<double>(host->weights->bytes + rank.engine.expert_weight_bytes());
        return {};
      }));
  if (!layers.empty() && !out.load.windows.empty()) {
    WS_ASSIGN(out.balance, summarize_balance(setup.placement, out.load));
  }
  return out;
}

Expected<Placement> placement_for(const Load& load, int ranks, int redundant, LoadMatrix* rows) {
  WS_ASSIGN(const auto counts, total_load(load));
  LoadMatrix sums;
  for (const auto& row : counts) sums.emplace_back(row.begin(), row.end());
  Placement out;
  out.topology.experts = load.experts;
  out.topology.rank_slots = even_rank_slots(load.experts + redundant, ranks);
  out.epoch = 1;
  const auto plans = plan_layers(out.topology, sums, {});
  for (size_t l = 0; l < plans.size(); ++l) {
    out.layers.push_back({load.layers[l], plans[l].slot_to_expert});
  }
  WS_RETURN_IF_ERROR(out.validate());
  if (rows != nullptr) *rows = std::move(sums);
  return out;
}

double tokens_per_active_expert(std::span<const LoadWindow> windows) {
  int64_t tokens = 0, active = 0;
  for (const LoadWindow& window : windows) {
    for (const auto& layer : window.load) {
      for (const int64_t n : layer) {
        tokens += n;
        active += n > 0;
      }
    }
  }
  return active > 0 ? static_cast<double>(tokens) / static_cast<double>(active) : 0;
}

bool same_bits(const std::vector<RequestResult>& a, const std::vector<RequestResult>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(), [](const RequestResult& x, const RequestResult& y) {
        return x.output_ids == y.output_ids && x.logprobs.size() == y.logprobs.size() &&
               (x.logprobs.empty() || std::memcmp(x.logprobs.data(), y.logprobs.data(),
                                                  x.logprobs.size() * sizeof(float)) == 0);
      });
}

}  // namespace wingspan
