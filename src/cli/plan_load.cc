#include "cli/plan_load.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/files.h"
#include "placement/load.h"
#include "placement/placement.h"

namespace wingspan {

Expected<LoadMatrix> recorded_load(const std::string& path, const PlanModel& model) {
  WS_ASSIGN(const Load load, read_load(real_files(), path));
  if (load.experts != static_cast<int>(model.experts)) {
    return invalid_input(
        fmt::format("the load has {} experts, {} has {}", load.experts, model.name, model.experts),
        path, "record the load on this model");
  }
  WS_ASSIGN(const auto total, total_load(load));
  LoadMatrix out;
  for (const auto& layer : total) out.emplace_back(layer.begin(), layer.end());
  if (out.empty()) return invalid_input("the load has no layers", path);
  return out;
}

double placed_imbalance(const LoadMatrix& load, int ranks, int slots) {
  if (ranks == 1) return 1;
  Topology topology;
  topology.experts = static_cast<int>(load.front().size());
  topology.rank_slots = even_rank_slots(slots, ranks);
  PlanOptions options;
  options.effort = Effort::fast();
  const auto plans = plan_layers(topology, load, options);
  double sum = 0;
  for (size_t l = 0; l < plans.size(); ++l) {
    const LayerReport r = report_plan(topology, plans[l].slot_to_expert, load[l], 0);
    sum += r.balancedness > 0 ? 1 / r.balancedness : 1;
  }
  return sum / static_cast<double>(plans.size());
}

Status use_recorded_load(const std::string& path, const PlanModel& model, PlanScenario& s,
                         std::vector<std::string>& assumptions) {
  if (path.empty()) return {};
  if (model.experts < 1) {
    return invalid_input(model.name + " has no experts to balance", "--load", "leave it out");
  }
  WS_ASSIGN(const LoadMatrix load, recorded_load(path, model));
  const int ranks = static_cast<int>(s.ep);
  s.balancing = Balancing::kGiven;
  s.imbalance = std::max(1.0, placed_imbalance(load, ranks, static_cast<int>(s.slots)));
  assumptions.push_back(
      fmt::format("imbalance from the balancer on {}: {} layers on {} ranks with {:g} slots, in "
                  "place of the scenario's state",
                  path, load.size(), ranks, s.slots));
  return {};
}

}  // namespace wingspan
