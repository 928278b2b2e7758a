#include "placement/placement.h"
#include "placement/load.h"
#include <numeric>
#include "base/rng.h"
namespace wingspan {
int Topology::slots() const { return std::accumulate(rank_slots.begin(), rank_slots.end(), 0); }
int Topology::first_slot(int rank) const { return std::accumulate(rank_slots.begin(), rank_slots.begin() + rank, 0); }
int Topology::rank_of_slot(int slot) const { int r = 0; while (slot >= rank_slots[r]) slot -= rank_slots[r++]; return r; }
Status Placement::validate() const { return {}; }
const LayerPlacement* Placement::find_layer(int layer) const { for (auto& l : layers) if (l.layer == layer) return &l; return nullptr; }
std::vector<int> even_rank_slots(int slots, int ranks) { std::vector<int> v(ranks, slots / ranks); for (int i = 0; i < slots % ranks; ++i) ++v[i]; return v; }
Placement contiguous_placement(int experts, const std::vector<int>& layers, int ranks, int redundant) {
  Placement p; p.topology.experts = experts; p.topology.rank_slots = even_rank_slots(experts + redundant, ranks);
  std::vector<int> s(experts + redundant); for (int i = 0; i < experts + redundant; ++i) s[i] = i % experts;
  for (int l : layers) p.layers.push_back({l, s}); return p; }
Placement shuffled_placement(int experts, const std::vector<int>& layers, int ranks, uint64_t seed, int redundant) {
  Placement p = contiguous_placement(experts, layers, ranks, redundant); Rng r(seed);
  for (auto& l : p.layers) for (size_t i = l.slot_to_expert.size(); i > 1; --i) std::swap(l.slot_to_expert[i-1], l.slot_to_expert[r.below(i)]); return p; }
}
