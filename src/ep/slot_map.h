// One layer's placement as a rank sees it: expert -> the slot that this rank's tokens use.
#pragma once

#include <cstdint>
#include <vector>

#include "placement/placement.h"

namespace wingspan {

struct SlotRef {
  int32_t rank = 0;
  int32_t local_slot = 0;  // index among the rank's slots
};

class SlotMap {
 public:
  SlotMap(const Topology& topology, const LayerPlacement& layer, int own_rank);

  // The replica for one token: this rank's own if it holds one, else the replicas in turn by token
  // index, so that they share evenly and the choice is the same on every run.
  SlotRef choose(int32_t expert, int64_t token_index) const {
    const Range& r = ranges_[static_cast<size_t>(expert)];
    if (r.own_slot >= 0) return {own_rank_, r.own_slot};
    const auto turn = static_cast<uint64_t>(token_index) % static_cast<uint32_t>(r.count);
    return replicas_[static_cast<size_t>(r.begin) + turn];
  }
  int own_rank() const { return own_rank_; }
  int local_slots() const { return local_slots_; }
  int experts() const { return static_cast<int>(ranges_.size()); }

 private:
  struct Range {
    int32_t begin = 0, count = 0;
    int32_t own_slot = -1;
  };
  int own_rank_, local_slots_;
  std::vector<Range> ranges_;      // [experts]
  std::vector<SlotRef> replicas_;  // by expert, ascending slots
};

}  // namespace wingspan
