#include "eplb/replay.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "eplb/forecast.h"
#include "eplb/incremental.h"
#include "eplb/migration.h"

namespace wingspan {
namespace {

double balancedness(const Topology& t, const std::vector<int>& slots,
                    const std::vector<double>& load) {
  return report_plan(t, slots, load, 0).balancedness;
}

// The largest replica of a placement.
double largest_replica(std::span<const int> slots, std::span<const double> load) {
  std::vector<int> replicas(load.size());
  for (const int e : slots) ++replicas[at(e)];
  double most = 0;
  for (size_t e = 0; e < load.size(); ++e) most = std::max(most, load[e] / replicas[e]);
  return most;
}

// The placement of one layer after window `load`.
std::vector<int> next_placement(const Topology& t, Policy policy, const std::vector<int>& now,
                                const std::vector<double>& load, const LoadForecast& forecast) {
  switch (policy) {
    case Policy::kKeep:
      return now;
    case Policy::kResolve:
      return plan_layer(t, load, {}).slot_to_expert;
    case Policy::kRelabel:
      return relabel(t, now, plan_layer(t, load, {}).slot_to_expert);
    case Policy::kIncremental:
      break;
  }
  return change_layer(t, forecast.next(), now);
}

}  // namespace

std::vector<int> change_layer(const Topology& topology, std::span<const double> load,
                              std::span<const int> current, const ChangeLimits& limits) {
  PlanOptions fast;
  fast.effort = Effort::fast();
  const LayerPlan plan = plan_layer(topology, load, fast);
  const double reached = largest_cost(topology, plan.slot_to_expert, ShareModel(load));
  std::vector<int> best(current.begin(), current.end());
  double cost = largest_cost(topology, current, ShareModel(load));
  if (cost <= reached * (1 + limits.trigger)) return best;
  FrontierOptions options;
  options.target = reached * (1 + limits.tolerance);
  options.least_replica = largest_replica(plan.slot_to_expert, load);
  // Where small steps get stuck, the replica counts are more uneven than they may be.
  for (const double evening : {1.35, 1.2, 1.05, 1.0}) {
    options.evening = evening;
    auto points = layer_frontier(topology, load, current, options);
    if (points.back().cost >= cost) continue;
    cost = points.back().cost;
    best = std::move(points.back().slot_to_expert);
    if (cost <= reached * (1 + limits.fallback)) return best;
  }
  return relabel(topology, current, plan.slot_to_expert);
}

ReplayResult replay(const Topology& topology, const std::vector<LoadMatrix>& windows,
                    Policy policy) {
  WS_CHECK(windows.size() >= 2, "{} windows", windows.size());
  const size_t layers = windows[0].size();
  std::vector<std::vector<int>> placement;
  for (LayerPlan& plan : plan_layers(topology, windows[0], {})) {
    placement.push_back(std::move(plan.slot_to_expert));
  }
  std::vector<LoadForecast> forecasts(layers);
  ReplayResult out;
  for (size_t w = 0; w + 1 < windows.size(); ++w) {
    int64_t moved = 0;
    double sum = 0;
    for (size_t l = 0; l < layers; ++l) {
      const auto& load = windows[w][l];
      if (policy == Policy::kIncremental) forecasts[l].observe(load);
      if (w > 0) {
        std::vector<int> next = next_placement(topology, policy, placement[l], load, forecasts[l]);
        moved += count_moves(placement[l], next);
        placement[l] = std::move(next);
      }
      sum += balancedness(topology, placement[l], windows[w + 1][l]);
    }
    out.balancedness.push_back(sum / static_cast<double>(layers));
    out.moved_slots.push_back(moved);
    out.moves += moved;
  }
  out.mean_balancedness = std::accumulate(out.balancedness.begin(), out.balancedness.end(), 0.0) /
                          static_cast<double>(out.balancedness.size());
  return out;
}

}  // namespace wingspan
