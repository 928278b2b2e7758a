#include "eplb/plan.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "eplb/bounds.h"
#include "eplb/grouped.h"

namespace wingspan {
namespace {

PoolPlan solve(const Topology& topology, const ShareModel& shares, const Effort& effort) {
  if (topology.grouped()) return solve_grouped(topology, shares, effort);
  return solve_pool(shares, topology.rank_slots, effort);
}

}  // namespace

LayerPlan plan_layer(const Topology& topology, std::span<const double> load,
                     const PlanOptions& options) {
  WS_CHECK(load.size() == static_cast<size_t>(topology.experts), "{} loads, {} experts",
           load.size(), topology.experts);
  const ShareModel shares(load, options.objective, options.rows);
  PoolPlan plan = solve(topology, shares, options.effort);
  LayerPlan out{std::move(plan.slot_to_expert), plan.lower_bound};
  if (shares.activated()) out.lower_bound = lower_bound(topology, load, options.effort);
  return out;
}

std::vector<LayerPlan> plan_layers(const Topology& topology, const LoadMatrix& load,
                                   const PlanOptions& options) {
  PlanOptions each = options;
  constexpr int64_t kNodesInAll = 12'000'000, kMostNodes = 3'000'000;
  if (each.effort.exact_nodes > 0 && !load.empty()) {
    each.effort.exact_nodes = std::min(kMostNodes, kNodesInAll / static_cast<int64_t>(load.size()));
  }
  // Full rounds for a few layers; many layers share the work, and their gaps average out.
  constexpr int kLayersInFull = 64, kMoreRoundsInAll = 3000;
  if (!load.empty()) {
    each.effort.small_factor = std::clamp(kLayersInFull / static_cast<int>(load.size()), 1,
                                          std::max(1, each.effort.small_factor));
    each.effort.more_rounds =
        std::min(each.effort.more_rounds, kMoreRoundsInAll / static_cast<int>(load.size()));
  }
  std::vector<LayerPlan> out;
  out.reserve(load.size());
  for (const auto& row : load) out.push_back(plan_layer(topology, row, each));
  return out;
}

double lower_bound(const Topology& topology, std::span<const double> load, const Effort& effort) {
  return solve(topology, ShareModel(load), effort).lower_bound;
}

std::vector<double> rank_costs(const Topology& topology, std::span<const int> slot_to_expert,
                               const ShareModel& shares) {
  std::vector<int> replicas(static_cast<size_t>(topology.experts));
  for (const int expert : slot_to_expert) ++replicas[static_cast<size_t>(expert)];
  std::vector<double> costs(topology.rank_slots.size());
  size_t slot = 0;
  for (size_t rank = 0; rank < costs.size(); ++rank) {
    for (int i = 0; i < topology.rank_slots[rank]; ++i, ++slot) {
      const int expert = slot_to_expert[slot];
      costs[rank] += shares.of(expert, replicas[static_cast<size_t>(expert)]);
    }
  }
  return costs;
}

double largest_cost(const Topology& topology, std::span<const int> slot_to_expert,
                    const ShareModel& shares) {
  const std::vector<double> costs = rank_costs(topology, slot_to_expert, shares);
  return *std::max_element(costs.begin(), costs.end());
}

LayerReport report_plan(const Topology& topology, std::span<const int> slot_to_expert,
                        std::span<const double> load, double lower_bound) {
  const std::vector<double> costs = rank_costs(topology, slot_to_expert, ShareModel(load));
  LayerReport report;
  report.max_rank_load = *std::max_element(costs.begin(), costs.end());
  report.mean_rank_load =
      std::accumulate(load.begin(), load.end(), 0.0) / static_cast<double>(costs.size());
  if (report.max_rank_load > 0) {
    report.balancedness = std::min(1.0, report.mean_rank_load / report.max_rank_load);
  }
  report.lower_bound = std::min(lower_bound, report.max_rank_load);
  if (report.lower_bound > 0) report.gap = report.max_rank_load / report.lower_bound - 1;
  return report;
}

}  // namespace wingspan
