// The balancer: plans from scratch and small changes, in milliseconds a call over all layers.
#include <benchmark/benchmark.h>

#include <cmath>

#include "base/rng.h"
#include "eplb/decide.h"
#include "eplb/replay.h"

namespace wingspan {
namespace {

// Lognormal loads, as skewed as published ones (σ 1.1), in whole tokens.
LoadMatrix lognormal_loads(int layers, int experts, uint64_t seed) {
  Rng rng(seed);
  LoadMatrix out(static_cast<size_t>(layers), std::vector<double>(static_cast<size_t>(experts)));
  for (auto& row : out) {
    for (double& load : row) load = std::floor(1000 * std::exp(1.1 * rng.normal()));
  }
  return out;
}

// The same experts with loads that went up or down by `percent` or so.
LoadMatrix drifted(LoadMatrix loads, double percent, uint64_t seed) {
  Rng rng(seed);
  for (auto& row : loads) {
    for (double& load : row) load = std::floor(load * std::exp(percent / 100 * rng.normal()));
  }
  return loads;
}

Topology topology_of(int experts, int slots, int ranks) {
  return {experts, 1, 1, even_rank_slots(slots, ranks)};
}

double mean_gap(const Topology& t, const LoadMatrix& loads, const std::vector<LayerPlan>& plans) {
  double max = 0, bound = 0;
  for (size_t l = 0; l < plans.size(); ++l) {
    const auto r = report_plan(t, plans[l].slot_to_expert, loads[l], plans[l].lower_bound);
    max += r.max_rank_load;
    bound += r.lower_bound;
  }
  return max / bound - 1;
}

void plan(benchmark::State& state, int layers, int experts, int slots, int ranks,
          const Effort& effort) {
  const LoadMatrix loads = lognormal_loads(layers, experts, 1);
  const Topology t = topology_of(experts, slots, ranks);
  PlanOptions options;
  options.effort = effort;
  std::vector<LayerPlan> plans;
  for (auto _ : state) plans = plan_layers(t, loads, options);
  state.counters["gap_percent"] = 100 * mean_gap(t, loads, plans);
}

void PlanAlone58x256(benchmark::State& s) { plan(s, 58, 256, 288, 32, Effort::fast()); }
void PlanBounded58x256(benchmark::State& s) { plan(s, 58, 256, 288, 32, {}); }
void PlanAlone61x384(benchmark::State& s) { plan(s, 61, 384, 512, 128, Effort::fast()); }
void PlanBounded61x384(benchmark::State& s) { plan(s, 61, 384, 512, 128, {}); }
void PlanBounded58x256On72(benchmark::State& s) { plan(s, 58, 256, 288, 72, {}); }
BENCHMARK(PlanAlone58x256)->Unit(benchmark::kMillisecond);
BENCHMARK(PlanBounded58x256)->Unit(benchmark::kMillisecond);
BENCHMARK(PlanAlone61x384)->Unit(benchmark::kMillisecond);
BENCHMARK(PlanBounded61x384)->Unit(benchmark::kMillisecond);
BENCHMARK(PlanBounded58x256On72)->Unit(benchmark::kMillisecond);

// Slots double, 8 a rank; the cost is O(layers · slots · log slots).
void PlanOverSizes(benchmark::State& state) {
  const auto slots = static_cast<int>(state.range(0));
  plan(state, 16, slots - slots / 8, slots, slots / 8, Effort::fast());
  state.SetComplexityN(state.range(0));
}
BENCHMARK(PlanOverSizes)
    ->RangeMultiplier(2)
    ->Range(64, 4096)
    ->Unit(benchmark::kMillisecond)
    ->Complexity(benchmark::oNLogN);

// A small change of a running placement after a drift of so many percent.
void Incremental58x256(benchmark::State& state) {
  const Topology t = topology_of(256, 288, 32);
  const LoadMatrix before = lognormal_loads(58, 256, 1),
                   after = drifted(before, static_cast<double>(state.range(0)), 2);
  PlanOptions options;
  options.effort = Effort::fast();
  const auto running = plan_layers(t, before, options);
  int64_t moves = 0;
  for (auto _ : state) {
    moves = 0;
    for (size_t l = 0; l < after.size(); ++l) {
      const auto next = change_layer(t, after[l], running[l].slot_to_expert);
      for (size_t s = 0; s < next.size(); ++s) moves += next[s] != running[l].slot_to_expert[s];
    }
  }
  state.counters["moved_percent"] = 100 * static_cast<double>(moves) / (58 * 288);
}
BENCHMARK(Incremental58x256)->Arg(4)->Arg(6)->Arg(10)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace wingspan
