#include "ep/slot_map.h"

#include "base/check.h"

namespace wingspan {

SlotMap::SlotMap(const Topology& topology, const LayerPlacement& layer, int own_rank)
    : own_rank_(own_rank),
      local_slots_(topology.rank_slots[static_cast<size_t>(own_rank)]),
      ranges_(static_cast<size_t>(topology.experts)),
      replicas_(layer.slot_to_expert.size()) {
  for (int expert : layer.slot_to_expert) ++ranges_[static_cast<size_t>(expert)].count;
  int32_t begin = 0;
  for (Range& r : ranges_) {
    WS_CHECK(r.count > 0, "layer {} lacks an expert: placements are validated first", layer.layer);
    r.begin = begin;
    begin += r.count;
    r.count = 0;
  }
  int slot = 0;
  for (int rank = 0; rank < topology.ranks(); ++rank) {
    for (int local = 0; local < topology.rank_slots[static_cast<size_t>(rank)]; ++local, ++slot) {
      Range& r = ranges_[static_cast<size_t>(layer.slot_to_expert[static_cast<size_t>(slot)])];
      const int at = r.begin + r.count++;
      replicas_[static_cast<size_t>(at)] = {rank, local};
      if (rank == own_rank && r.own_slot < 0) r.own_slot = local;
    }
  }
}

}  // namespace wingspan
