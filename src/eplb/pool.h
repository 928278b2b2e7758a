// One pool of ranks, solved: a placement and a proven bound.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eplb/share.h"

namespace wingspan {

// How hard to try. All limits are counts of work, never of time, so that a plan depends on its
// input alone.
struct Effort {
  // A placement within this of the bound is good enough.
  double tolerance = 1e-4;
  // Rounds of refine() where the placement is further than `refine_above` from the bound; pools of
  // at most kSmallSlots slots get many more, down to the bound.
  int refine_rounds = 24;
  double refine_above = 4e-3;
  bool strong_bounds = true;
  int64_t exact_nodes = 300'000;  // of exact_search, in small pools; 0: never
  int small_factor = 8;           // times the rounds for small pools
  int more_rounds = 1500;         // at most, after that, while the gap is above 1 %
  // A largest load that is as good as any lower one: what other parts of the placement need anyway.
  double enough = 0;

  // One descent, to within 0.2 % of the simple bound.
  static Effort fast() { return {2e-3, 0, 0, false, 0, 0, 0, 0}; }
};

inline constexpr int kTinySlots = 32;   // exact search
inline constexpr int kSmallSlots = 96;  // long refinement

struct PoolPlan {
  std::vector<int> slot_to_expert;  // rank-major
  double max_load = 0;              // in the objective's units
  double lower_bound = 0;           // ≤ max_load
};

// Rules 1 to 3 hold. `rank_slots` has at least as many slots as there are experts.
PoolPlan solve_pool(const ShareModel& shares, std::span<const int> rank_slots,
                    const Effort& effort);

}  // namespace wingspan
