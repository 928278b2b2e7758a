#include "placement/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace wingspan {
namespace {

std::vector<int> replica_counts(const Topology& topology, const LayerPlacement& layer) {
  std::vector<int> replicas(static_cast<size_t>(topology.experts));
  for (const int expert : layer.slot_to_expert) ++replicas[static_cast<size_t>(expert)];
  return replicas;
}

// The least possible largest replica load: each further slot goes to the expert whose replicas
// carry most. The exchange argument is in docs/plan-format.md.
double least_replica_load(const std::vector<int64_t>& expert_load, int slots) {
  struct Share {
    double load;  // of one replica
    size_t expert;
    int replicas;
    bool operator<(const Share& other) const { return load < other.load; }
  };
  std::vector<Share> heap;
  heap.reserve(expert_load.size());
  for (size_t e = 0; e < expert_load.size(); ++e) {
    heap.push_back({static_cast<double>(expert_load[e]), e, 1});
  }
  std::make_heap(heap.begin(), heap.end());
  for (int extra = slots - static_cast<int>(expert_load.size()); extra > 0; --extra) {
    std::pop_heap(heap.begin(), heap.end());
    Share& top = heap.back();
    ++top.replicas;
    top.load = static_cast<double>(expert_load[top.expert]) / top.replicas;
    std::push_heap(heap.begin(), heap.end());
  }
  return heap.front().load;
}

}  // namespace

std::vector<double> rank_loads(const Topology& topology, const LayerPlacement& layer,
                               const std::vector<int64_t>& expert_load) {
  WS_CHECK(expert_load.size() == static_cast<size_t>(topology.experts), "{} loads, {} experts",
           expert_load.size(), topology.experts);
  WS_CHECK(layer.slot_to_expert.size() == static_cast<size_t>(topology.slots()),
           "{} entries, {} slots", layer.slot_to_expert.size(), topology.slots());
  const std::vector<int> replicas = replica_counts(topology, layer);
  std::vector<double> loads(topology.rank_slots.size());
  size_t slot = 0;
  for (size_t rank = 0; rank < loads.size(); ++rank) {
    for (int i = 0; i < topology.rank_slots[rank]; ++i, ++slot) {
      const auto expert = static_cast<size_t>(layer.slot_to_expert[slot]);
      loads[rank] += static_cast<double>(expert_load[expert]) / replicas[expert];
    }
  }
  return loads;
}

LayerReport report_layer(const Topology& topology, const LayerPlacement& layer,
                         const std::vector<int64_t>& expert_load) {
  const std::vector<double> loads = rank_loads(topology, layer, expert_load);
  // The experts' sum, not the ranks': without replicas it is exact as long as a double can be.
  double total = 0;
  for (const int64_t load : expert_load) total += static_cast<double>(load);
  LayerReport report;
  report.max_rank_load = *std::max_element(loads.begin(), loads.end());
  report.mean_rank_load = total / static_cast<double>(loads.size());
  if (report.max_rank_load > 0) {
    report.balancedness = std::min(1.0, report.mean_rank_load / report.max_rank_load);
  }
  report.lower_bound =
      std::max(report.mean_rank_load, least_replica_load(expert_load, topology.slots()));
  // Rounding alone can put the bound above what is reached.
  report.lower_bound = std::min(report.lower_bound, report.max_rank_load);
  if (report.lower_bound > 0) report.gap = report.max_rank_load / report.lower_bound - 1;
  return report;
}

Expected<std::vector<std::vector<int64_t>>> total_load(const Load& load) {
  std::vector<std::vector<int64_t>> total(load.layers.size(),
                                          std::vector<int64_t>(static_cast<size_t>(load.experts)));
  for (const LoadWindow& window : load.windows) {
    WS_CHECK(window.load.size() == total.size(), "{} layers, {}", window.load.size(), total.size());
    for (size_t l = 0; l < total.size(); ++l) {
      WS_CHECK(window.load[l].size() == total[l].size(), "layer {}", load.layers[l]);
      for (size_t e = 0; e < total[l].size(); ++e) {
        if (__builtin_add_overflow(total[l][e], window.load[l][e], &total[l][e])) {
          return invalid_input("the sum over windows exceeds int64",
                               fmt::format("layer {}, expert {}", load.layers[l], e));
        }
      }
    }
  }
  return total;
}

Expected<BalanceSummary> summarize_balance(const Placement& placement, const Load& load) {
  if (placement.topology.experts != load.experts) {
    return invalid_input(fmt::format("the placement has {} experts, the load {}",
                                     placement.topology.experts, load.experts));
  }
  WS_ASSIGN(const auto total, total_load(load));
  BalanceSummary summary;
  double balancedness = 0;
  for (size_t l = 0; l < load.layers.size(); ++l) {
    const LayerPlacement* layer = placement.find_layer(load.layers[l]);
    if (layer == nullptr) {
      return invalid_input(fmt::format("the placement lacks layer {} of the load", load.layers[l]));
    }
    const std::vector<double> loads = rank_loads(placement.topology, *layer, total[l]);
    const double max = *std::max_element(loads.begin(), loads.end());
    const double mean =
        std::accumulate(loads.begin(), loads.end(), 0.0) / static_cast<double>(loads.size());
    summary.max_rank_load += max;
    summary.mean_rank_load += mean;
    balancedness += max > 0 ? std::min(1.0, mean / max) : 1.0;
  }
  if (!load.layers.empty()) {
    summary.balancedness = balancedness / static_cast<double>(load.layers.size());
  }
  return summary;
}

}  // namespace wingspan
