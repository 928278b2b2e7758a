// The best placement of a small pool that differs from the running one in at most so many slots, by
// search through all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eplb/share.h"

namespace wingspan {

struct FewMovesPoint {
  double cost = 0;  // the largest rank's
  std::vector<int> slot_to_expert;
};

struct FewMoves {
  // points[k]: no placement that obeys rules 1 to 3 and differs in at most k slots costs less. As
  // many as the nodes sufficed for; the first is `current` itself.
  std::vector<FewMovesPoint> points;
};

// `current` obeys the rules. At most `most` moves and `max_nodes` decisions.
FewMoves few_moves(const ShareModel& shares, std::span<const int> rank_slots,
                   std::span<const int> current, int most, int64_t max_nodes);

}  // namespace wingspan
