#include "placement/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "base/check.h"

namespace wingspan {
namespace {

Unexpected bad_topology(std::string what) { return invalid_input(std::move(what), "topology"); }

// Rule 4's part that does not depend on a layer.
Status check_grouped(const Topology& t) {
  const int slots = t.slots();
  if (t.experts % t.groups != 0) {
    return bad_topology(
        fmt::format("rule 4: {} experts are not divisible by {} groups", t.experts, t.groups));
  }
  if (t.ranks() % t.nodes != 0 || slots % t.nodes != 0) {
    return bad_topology(
        fmt::format("rule 4: {} ranks and {} slots are not both divisible by {} nodes", t.ranks(),
                    slots, t.nodes));
  }
  const int node_ranks = t.ranks() / t.nodes, node_slots = slots / t.nodes;
  for (int node = 0; node < t.nodes; ++node) {
    const auto first = t.rank_slots.begin() + node * node_ranks;
    const int held = std::accumulate(first, first + node_ranks, 0);
    if (held != node_slots) {
      return bad_topology(
          fmt::format("rule 4: the ranks of node {} have {} slots, not {} / {} = {}", node, held,
                      slots, t.nodes, node_slots));
    }
  }
  return {};
}

// Checks layers of one topology, keeping its scratch between them.
class LayerChecker {
 public:
  explicit LayerChecker(const Topology& topology)
      : t_(topology),
        grouped_(topology.grouped()),
        replicas_(static_cast<size_t>(topology.experts)),
        ranks_held_(replicas_.size()),
        last_rank_(replicas_.size()),
        node_(grouped_ ? static_cast<size_t>(topology.groups) : 0) {
    // A rank without slots can't take a replica, so it forces no spread either.
    const int parts = grouped_ ? t_.nodes : 1, part_ranks = t_.ranks() / parts;
    for (int part = 0; part < parts; ++part) {
      const auto first = t_.rank_slots.begin() + part * part_ranks;
      spread_.push_back(static_cast<int>(
          std::count_if(first, first + part_ranks, [](int slots) { return slots > 0; })));
    }
  }

  Status check(const LayerPlacement& layer) {
    if (layer.slot_to_expert.size() != static_cast<size_t>(t_.slots())) {
      return bad(layer, fmt::format("slot_to_expert has length {}, not {} slots",
                                    layer.slot_to_expert.size(), t_.slots()));
    }
    std::fill(replicas_.begin(), replicas_.end(), 0);
    std::fill(ranks_held_.begin(), ranks_held_.end(), 0);
    std::fill(last_rank_.begin(), last_rank_.end(), -1);
    std::fill(node_.begin(), node_.end(), -1);
    WS_RETURN_IF_ERROR(visit_slots(layer));
    return check_experts(layer);
  }

 private:
  static Unexpected bad(const LayerPlacement& layer, std::string what) {
    return invalid_input(std::move(what), fmt::format("layer {}", layer.layer));
  }

  Status visit_slots(const LayerPlacement& layer) {
    const int node_slots = t_.slots() / t_.nodes;
    int slot = 0;
    for (int rank = 0; rank < t_.ranks(); ++rank) {
      for (int i = 0; i < t_.rank_slots[static_cast<size_t>(rank)]; ++i, ++slot) {
        const int expert = layer.slot_to_expert[static_cast<size_t>(slot)];
        if (expert < 0 || expert >= t_.experts) {
          return bad(layer, fmt::format("rule 1: slot {} holds expert {}, out of range [0, {})",
                                        slot, expert, t_.experts));
        }
        const auto e = static_cast<size_t>(expert);
        ++replicas_[e];
        if (last_rank_[e] != rank) ++ranks_held_[e];
        last_rank_[e] = rank;
        if (!grouped_) continue;
        const int group = expert / (t_.experts / t_.groups), node = slot / node_slots;
        int& home = node_[static_cast<size_t>(group)];
        if (home >= 0 && home != node) {
          return bad(layer,
                     fmt::format("rule 4: slot {} holds expert {} on node {}, but its group {} "
                                 "lives on node {}",
                                 slot, expert, node, group, home));
        }
        home = node;
      }
    }
    return {};
  }

  Status check_experts(const LayerPlacement& layer) {
    for (int expert = 0; expert < t_.experts; ++expert) {
      const auto e = static_cast<size_t>(expert);
      if (replicas_[e] == 0) {
        return bad(layer, fmt::format("rule 2: expert {} has no slot", expert));
      }
      const int node = grouped_ ? node_[e / static_cast<size_t>(t_.experts / t_.groups)] : 0;
      const int reach = std::min(replicas_[e], spread_[static_cast<size_t>(node)]);
      if (ranks_held_[e] < reach) {
        return bad(layer,
                   fmt::format("rule 3: {} replicas of expert {} lie on {} ranks where {} are "
                               "possible, so a rank holds an avoidable duplicate",
                               replicas_[e], expert, ranks_held_[e], reach));
      }
    }
    return check_node_groups(layer);
  }

  Status check_node_groups(const LayerPlacement& layer) {
    std::vector<int> held(grouped_ ? static_cast<size_t>(t_.nodes) : 0);
    for (const int node : node_) ++held[static_cast<size_t>(node)];
    for (size_t node = 0; node < held.size(); ++node) {
      if (held[node] != t_.groups / t_.nodes) {
        return bad(layer, fmt::format("rule 4: node {} holds {} groups, not {}", node, held[node],
                                      t_.groups / t_.nodes));
      }
    }
    return {};
  }

  const Topology& t_;
  bool grouped_;
  std::vector<int> spread_;  // ranks with slots: [nodes], flat: [1]
  // By expert; a rank's slots are visited together, so the last rank tells repeats.
  std::vector<int> replicas_, ranks_held_, last_rank_;
  std::vector<int> node_;  // by group
};

}  // namespace

int Topology::slots() const { return std::accumulate(rank_slots.begin(), rank_slots.end(), 0); }

int Topology::first_slot(int rank) const {
  WS_CHECK(rank >= 0 && rank <= ranks(), "rank {} of {}", rank, ranks());
  return std::accumulate(rank_slots.begin(), rank_slots.begin() + rank, 0);
}

int Topology::rank_of_slot(int slot) const {
  WS_CHECK(slot >= 0, "slot {}", slot);
  int end = 0;
  for (int rank = 0; rank < ranks(); ++rank) {
    end += rank_slots[static_cast<size_t>(rank)];
    if (slot < end) return rank;
  }
  WS_CHECK(false, "slot {} of {}", slot, end);
  return -1;
}

Status Topology::validate() const {
  if (experts < 1 || experts > kMaxPlacementExperts) {
    return bad_topology(fmt::format("{} experts, outside [1, {}]", experts, kMaxPlacementExperts));
  }
  if (rank_slots.empty() || rank_slots.size() > static_cast<size_t>(kMaxPlacementRanks)) {
    return bad_topology(
        fmt::format("{} ranks, outside [1, {}]", rank_slots.size(), kMaxPlacementRanks));
  }
  int64_t slots_in_all = 0;
  for (size_t rank = 0; rank < rank_slots.size(); ++rank) {
    if (rank_slots[rank] < 0) {
      return bad_topology(fmt::format("rank {} has {} slots", rank, rank_slots[rank]));
    }
    slots_in_all += rank_slots[rank];
  }
  if (slots_in_all < experts || slots_in_all > kMaxPlacementSlots) {
    return bad_topology(fmt::format("{} slots, outside [{} experts, limit {}]", slots_in_all,
                                    experts, kMaxPlacementSlots));
  }
  if (nodes < 1 || nodes > ranks() || groups < 1 || groups > experts) {
    return bad_topology(
        fmt::format("{} nodes, outside [1, {} ranks], or {} groups, outside "
                    "[1, {} experts]",
                    nodes, ranks(), groups, experts));
  }
  return grouped() ? check_grouped(*this) : Status{};
}

Status Placement::validate() const {
  if (epoch < 0) return invalid_input(fmt::format("epoch is {}, below 0", epoch));
  WS_RETURN_IF_ERROR(topology.validate());
  LayerChecker checker(topology);
  std::unordered_set<int> seen;
  for (const LayerPlacement& layer : layers) {
    if (layer.layer < 0 || !seen.insert(layer.layer).second) {
      return invalid_input(
          fmt::format("layer {} {}", layer.layer, layer.layer < 0 ? "is negative" : "stands twice"),
          "layers");
    }
    WS_RETURN_IF_ERROR(checker.check(layer));
  }
  return {};
}

const LayerPlacement* Placement::find_layer(int layer) const {
  const auto it = std::find_if(layers.begin(), layers.end(),
                               [layer](const LayerPlacement& l) { return l.layer == layer; });
  return it == layers.end() ? nullptr : &*it;
}

}  // namespace wingspan
