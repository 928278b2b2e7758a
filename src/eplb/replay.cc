#include "eplb/replay.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "eplb/incremental.h"
#include "eplb/migration.h"

namespace wingspan {
namespace {

constexpr double kTolerance = 0.02;

double balancedness(const Topology& t, const std::vector<int>& slots,
                    const std::vector<double>& load) {
  return report_plan(t, slots, load, 0).balancedness;
}

}  // namespace

std::vector<int> change_layer(const Topology& topology, std::span<const double> load,
                              std::span<const int> current, double tolerance) {
  PlanOptions fast;
  fast.effort = Effort::fast();
  const LayerPlan plan = plan_layer(topology, load, fast);
  const auto costs = rank_costs(topology, plan.slot_to_expert, ShareModel(load));
  FrontierOptions options;
  options.target = *std::max_element(costs.begin(), costs.end()) * (1 + tolerance);
  return layer_frontier(topology, load, current, options).back().slot_to_expert;
}

ReplayResult replay(const Topology& topology, const std::vector<LoadMatrix>& windows,
                    Policy policy) {
  WS_CHECK(windows.size() >= 2, "{} windows", windows.size());
  const size_t layers = windows[0].size();
  std::vector<std::vector<int>> placement;
  for (LayerPlan& plan : plan_layers(topology, windows[0], {})) {
    placement.push_back(std::move(plan.slot_to_expert));
  }
  ReplayResult out;
  for (size_t w = 0; w + 1 < windows.size(); ++w) {
    int64_t moved = 0;
    double sum = 0;
    for (size_t l = 0; l < layers; ++l) {
      if (w > 0 && policy != Policy::kKeep) {
        const auto& load = windows[w][l];
        std::vector<int> next =
            policy == Policy::kResolve
                ? relabel(topology, placement[l], plan_layer(topology, load, {}).slot_to_expert)
                : change_layer(topology, load, placement[l], kTolerance);
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
