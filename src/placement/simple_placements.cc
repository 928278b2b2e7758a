// Placements that need no load: contiguous, shuffled, randomly replicated.
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "placement/placement.h"

namespace wingspan {
namespace {

Placement empty_placement(int experts, int ranks, int redundant) {
  WS_CHECK(experts >= 1 && experts <= kMaxPlacementExperts, "experts {}", experts);
  WS_CHECK(ranks >= 1 && ranks <= kMaxPlacementRanks, "ranks {}", ranks);
  WS_CHECK(redundant >= 0 && redundant <= kMaxPlacementSlots - experts, "redundant {}", redundant);
  Placement placement;
  placement.topology.experts = experts;
  placement.topology.rank_slots = even_rank_slots(experts + redundant, ranks);
  return placement;
}

// A rank holds consecutive experts (modulo E), so twice the same only where its slots exceed the
// experts; by evenness every rank with slots then holds all experts, and the duplicate is forced.
std::vector<int> contiguous_layer(const Topology& topology) {
  const int experts = topology.experts, ranks = topology.ranks();
  const std::vector<int> own = even_rank_slots(experts, ranks);
  std::vector<int> out;
  out.reserve(static_cast<size_t>(topology.slots()));
  int first = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto r = static_cast<size_t>(rank);
    const int start = own[r] > 0 ? first : rank % experts;
    for (int i = 0; i < topology.rank_slots[r]; ++i) out.push_back((start + i) % experts);
    first += own[r];
  }
  return out;
}

template <class It>
void shuffle(It first, It last, Rng& rng) {
  for (auto left = static_cast<uint64_t>(last - first); left > 1; --left) {
    std::swap(first[static_cast<std::ptrdiff_t>(left - 1)],
              first[static_cast<std::ptrdiff_t>(rng.below(left))]);
  }
}

std::vector<int> random_order(int experts, Rng& rng) {
  std::vector<int> order(static_cast<size_t>(experts));
  std::iota(order.begin(), order.end(), 0);
  shuffle(order.begin(), order.end(), rng);
  return order;
}

// Replicas of an expert are neighbours in a list that is dealt to the ranks in turn: any c
// neighbours fall on min(c, ranks) ranks, and the hands are as even as even_rank_slots.
std::vector<int> replicated_layer(const Topology& topology, Rng& rng) {
  const auto ranks = static_cast<size_t>(topology.ranks());
  std::vector<int> replicas(static_cast<size_t>(topology.experts), 1);
  for (int extra = topology.slots() - topology.experts; extra > 0; --extra) {
    ++replicas[rng.below(replicas.size())];
  }
  std::vector<std::vector<int>> hands(ranks);
  size_t dealt = 0;
  for (const int expert : random_order(topology.experts, rng)) {
    for (int i = 0; i < replicas[static_cast<size_t>(expert)]; ++i) {
      hands[dealt++ % ranks].push_back(expert);
    }
  }
  std::vector<int> out;
  out.reserve(dealt);
  for (auto& hand : hands) {
    shuffle(hand.begin(), hand.end(), rng);
    out.insert(out.end(), hand.begin(), hand.end());
  }
  return out;
}

}  // namespace

std::vector<int> even_rank_slots(int slots, int ranks) {
  WS_CHECK(slots >= 0 && ranks >= 1, "{} slots, {} ranks", slots, ranks);
  std::vector<int> out(static_cast<size_t>(ranks), slots / ranks);
  for (int rank = 0; rank < slots % ranks; ++rank) ++out[static_cast<size_t>(rank)];
  return out;
}

Placement contiguous_placement(int experts, const std::vector<int>& layers, int ranks,
                               int redundant) {
  Placement placement = empty_placement(experts, ranks, redundant);
  const std::vector<int> slots = contiguous_layer(placement.topology);
  for (const int layer : layers) placement.layers.push_back({layer, slots});
  return placement;
}

Placement shuffled_placement(int experts, const std::vector<int>& layers, int ranks, uint64_t seed,
                             int redundant) {
  Placement placement = contiguous_placement(experts, layers, ranks, redundant);
  for (LayerPlacement& layer : placement.layers) {
    Rng rng(seed, static_cast<uint64_t>(layer.layer));
    const std::vector<int> order = random_order(experts, rng);
    for (int& expert : layer.slot_to_expert) expert = order[static_cast<size_t>(expert)];
  }
  return placement;
}

Placement replicated_placement(int experts, const std::vector<int>& layers, int ranks,
                               int redundant, uint64_t seed) {
  Placement placement = empty_placement(experts, ranks, redundant);
  for (const int layer : layers) {
    Rng rng(seed, static_cast<uint64_t>(layer));
    placement.layers.push_back({layer, replicated_layer(placement.topology, rng)});
  }
  return placement;
}

}  // namespace wingspan
