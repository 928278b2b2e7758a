// Branch and bound over replica counts and ranks at once, for small pools.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eplb/share.h"

namespace wingspan {

struct ExactResult {
  // No placement that obeys rules 1 to 3 has a largest rank load below `load`.
  bool proven = false;
  double load = 0;
  std::vector<int> slot_to_expert;  // empty: nothing below the given load was found
};

// Looks for a placement with a largest rank load below `load` (one that is known to be reachable),
// and stops at `enough` (a lower bound) or after `max_nodes` decisions. Tokens only.
ExactResult exact_search(const ShareModel& shares, std::span<const int> rank_slots, double load,
                         double enough, int64_t max_nodes);

}  // namespace wingspan
