// The first placement of a pool: how many replicas each expert gets, and where they go.
#pragma once

#include <span>
#include <vector>

#include "eplb/share.h"

namespace wingspan {

// Ranks of the pool that have slots: no expert needs more replicas than that.
int usable_ranks(std::span<const int> rank_slots);

struct ReplicaCounts {
  std::vector<int> replicas;  // [experts], with the sum of `rank_slots`
  // Where a rank has more slots than there are experts, one expert takes all that exceeds them (it
  // has a replica on every rank, so rule 3 allows it); −1: no rank has.
  int filler = -1;
  // The largest share of a replica before that moving: no counts have a smaller one.
  double largest = 0;
};

// Starts at one replica each; every further slot goes to the expert whose replicas cost most, at
// most one a rank. This makes the largest replica as small as it can be: a replica above it would
// need more slots, for each expert, than this gave before it stopped. Then, where ranks differ in
// size, replicas are moved until distinct ranks for all of them exist (Gale and Ryser's condition).
ReplicaCounts choose_replicas(const ShareModel& shares, std::span<const int> rank_slots);

// Largest replica first, each onto the least loaded ranks with a free slot: rank-major slots that
// obey rules 2 and 3.
std::vector<int> pack_replicas(const ShareModel& shares, std::span<const int> rank_slots,
                               const ReplicaCounts& counts);

}  // namespace wingspan
