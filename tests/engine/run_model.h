// Runs a model directory through the engine on loopback ranks and keeps everything that it shows.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "comm/loopback.h"
#include "engine/engine.h"
#include "kernels/kernels.h"
#include "placement/placement.h"

namespace wingspan::test {

enum class PlacementKind { kContiguous, kShuffled, kReplicated };

struct RunSpec {
  std::string model;  // directory
  ComputeMode compute = ComputeMode::kF32;
  std::string kernel = "portable";
  const Kernels* kernels = nullptr;  // a table that has no name of its own, instead
  int ranks = 1;
  PlacementKind placement = PlacementKind::kContiguous;
  int threads_per_rank = 1;
  int64_t prefill_chunk = 512;
  int max_sequences_per_rank = 16;
  Capture capture;
  int64_t load_window_steps = 0;
};

using RowKey = std::pair<int, int64_t>;             // request, position
using LayerRowKey = std::tuple<int, int64_t, int>;  // request, position, layer
struct Routed {
  std::vector<int32_t> experts;
  std::vector<float> weights;
  bool operator==(const Routed&) const = default;
};

// Everything that rank 0 was shown.
struct Shown final : RunSink {
  std::map<RowKey, std::vector<float>> logits;
  std::map<LayerRowKey, std::vector<float>> hidden;
  std::map<LayerRowKey, Routed> routing;
  RunReport report;

  void on_logits(int request, int64_t position, std::span<const float> row) override {
    logits[{request, position}].assign(row.begin(), row.end());
  }
  void on_hidden(int request, int64_t position, int layer, std::span<const float> row) override {
    hidden[{request, position, layer}].assign(row.begin(), row.end());
  }
  void on_routing(int request, int64_t position, int layer, std::span<const int32_t> experts,
                  std::span<const float> weights) override {
    routing[{request, position, layer}] = {{experts.begin(), experts.end()},
                                           {weights.begin(), weights.end()}};
  }
};

inline Placement make_placement(const ModelConfig& config, int ranks, PlacementKind kind) {
  const int experts = config.moe.router.experts;
  switch (kind) {
    case PlacementKind::kShuffled:
      return shuffled_placement(experts, config.moe_layers(), ranks, 99);
    case PlacementKind::kReplicated:
      return shuffled_placement(experts, config.moe_layers(), ranks, 7,
                                ranks > 1 ? experts / 4 + 3 : 0);
    case PlacementKind::kContiguous:
      break;
  }
  return contiguous_placement(experts, config.moe_layers(), ranks);
}

inline Expected<Shown> run_model(const RunSpec& spec, const std::vector<Request>& requests) {
  WS_ASSIGN(ModelConfig config, read_model_config(real_files(), spec.model));
  WS_ASSIGN(std::shared_ptr<const WeightSource> source,
            open_checkpoint_source(real_files(), spec.model));
  WS_ASSIGN(auto host, load_model_host(config, source, spec.compute, 2, nullptr));
  const Placement placement = make_placement(config, spec.ranks, spec.placement);
  WS_RETURN_IF_ERROR(placement.validate());
  EngineOptions options;
  options.join_rows = JoinRows::kAlways;  // small models would not
  WS_ASSIGN(options.kernels, choose_kernels(spec.kernel));
  if (spec.kernels != nullptr) options.kernels = spec.kernels;
  options.threads = spec.threads_per_rank;
  options.prefill_chunk = spec.prefill_chunk;
  options.max_sequences_per_rank = spec.max_sequences_per_rank;
  for (const Request& r : requests) {
    options.kv_tokens_per_rank +=
        (static_cast<int64_t>(r.prompt.size()) + r.max_tokens + 63) / 64 * 64;
  }
  RunOptions run;
  run.capture = spec.capture;
  run.load_window_steps = spec.load_window_steps;
  Shown shown;
  WS_RETURN_IF_ERROR(run_loopback(spec.ranks, {}, [&](Group& group) -> Status {
    WS_ASSIGN(auto engine, Engine::create(group, host, placement, options, nullptr));
    RunSink silent;
    RunSink& sink = group.rank() == 0 ? static_cast<RunSink&>(shown) : silent;
    WS_ASSIGN(RunReport report, engine->run(requests, run, sink));
    if (group.rank() == 0) shown.report = std::move(report);
    return {};
  }));
  return shown;
}

}  // namespace wingspan::test
