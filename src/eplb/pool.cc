#include "eplb/pool.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "eplb/bounds.h"
#include "eplb/construct.h"
#include "eplb/exact.h"
#include "eplb/local_search.h"
#include "eplb/packing.h"
#include "eplb/refine.h"

namespace wingspan {
namespace {

constexpr uint64_t kSeed = 1;
constexpr double kRounding = 1e-10;
// A gap above this is worth many rounds of refine().
constexpr double kWide = 1.01;
// A gap below this is not worth the stronger bound.
constexpr double kWorthBounding = 1.001;

// Steps of one descent; each is O(slots of a rank × slots) at worst, far less as a rule.
int most_steps(int slots) { return 4 * slots + 64; }

void refine_pool(Packing& packing, int filler, double bound, const Effort& effort) {
  if (effort.refine_rounds == 0) return;
  const int slots = packing.slots();
  if (slots > kSmallSlots) {
    const double target = std::max(effort.enough, bound * (1 + effort.refine_above));
    refine(packing, filler, target, effort.refine_rounds, kSeed);
    if (packing.max_load() > std::max(effort.enough, bound * kWide)) {
      refine(packing, filler, target, effort.more_rounds, kSeed + 1);
    }
    return;
  }
  const bool tiny = slots <= kTinySlots;
  const double target = bound * (1 + (tiny ? kRounding : effort.tolerance));
  refine(packing, filler, std::max(effort.enough, target),
         effort.refine_rounds * effort.small_factor * (tiny ? 4 : 1), kSeed);
}

}  // namespace

PoolPlan solve_pool(const ShareModel& shares, std::span<const int> rank_slots,
                    const Effort& effort) {
  const int slots = std::accumulate(rank_slots.begin(), rank_slots.end(), 0);
  WS_CHECK(slots >= shares.experts() && shares.experts() > 0, "{} slots, {} experts", slots,
           shares.experts());
  const ReplicaCounts counts = choose_replicas(shares, rank_slots);
  Packing packing(shares, rank_slots, pack_replicas(shares, rank_slots, counts));
  PoolPlan plan;
  plan.lower_bound = basic_bound(shares, slots, usable_ranks(rank_slots), counts.largest);
  descend(packing, counts.filler,
          std::max(effort.enough, plan.lower_bound * (1 + effort.tolerance)), most_steps(slots));
  if (effort.strong_bounds && packing.max_load() > plan.lower_bound * kWorthBounding) {
    plan.lower_bound = few_slots_bound(shares, rank_slots, plan.lower_bound, packing.max_load());
  }
  refine_pool(packing, counts.filler, plan.lower_bound, effort);
  plan.max_load = packing.max_load();
  plan.slot_to_expert = packing.slot_to_expert();
  if (slots <= kTinySlots && effort.exact_nodes > 0 && !shares.activated() &&
      plan.max_load > std::max(effort.enough, plan.lower_bound * (1 + kRounding))) {
    const double enough = std::max(effort.enough, plan.lower_bound);
    ExactResult exact = exact_search(shares, rank_slots, plan.max_load, enough, effort.exact_nodes);
    if (!exact.slot_to_expert.empty()) {
      plan.max_load = exact.load;
      plan.slot_to_expert = std::move(exact.slot_to_expert);
    }
    // Strictly better ones were looked for only beyond rounding, and none once `enough` was
    // reached.
    if (exact.proven && exact.load > enough * (1 + 1e-9))
      plan.lower_bound = std::max(plan.lower_bound, exact.load * (1 - kRounding));
  }
  plan.lower_bound = std::min(plan.lower_bound, plan.max_load);
  return plan;
}

}  // namespace wingspan
