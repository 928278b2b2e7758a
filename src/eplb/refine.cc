#include "eplb/refine.h"

#include "base/rng.h"
#include "eplb/local_search.h"

namespace wingspan {
namespace {

constexpr int kDescendSteps = 256;
// How much worse a result may be to be built upon.
constexpr double kAccept = 1.002;

int pick(Rng& rng, int bound) { return static_cast<int>(rng.below(static_cast<uint64_t>(bound))); }

bool may_swap(const Packing& p, int filler, int a, int b) {
  const int ea = p.expert(a), eb = p.expert(b), ra = p.rank_of(a), rb = p.rank_of(b);
  return ra != rb && ea != eb && ea != filler && eb != filler && !p.holds(rb, ea) &&
         !p.holds(ra, eb);
}

bool may_replace(const Packing& p, int filler, int slot, int expert) {
  const int old = p.expert(slot);
  return p.replicas(old) > 1 && old != expert && old != filler && expert != filler &&
         !p.holds(p.rank_of(slot), expert);
}

int random_slot(const Packing& p, Rng& rng, int rank) {
  return p.first_slot(rank) + pick(rng, p.end_slot(rank) - p.first_slot(rank));
}

// One legal random step that touches `rank` half of the time.
void disturb_once(Packing& p, int filler, int rank, Rng& rng) {
  constexpr int kTries = 8;
  for (int i = 0; i < kTries; ++i) {
    const int slot = rng.below(2) == 0 ? random_slot(p, rng, rank) : pick(rng, p.slots());
    const int other = pick(rng, p.slots());
    if (rng.below(3) == 0) {
      if (may_replace(p, filler, other, p.expert(slot))) return p.replace(other, p.expert(slot));
      if (may_replace(p, filler, slot, p.expert(other))) return p.replace(slot, p.expert(other));
    } else if (may_swap(p, filler, slot, other)) {
      return p.swap_slots(slot, other);
    }
  }
}

}  // namespace

void refine(Packing& packing, int filler, double target, int rounds, uint64_t seed) {
  Rng rng(seed);
  Packing best = packing;
  double best_load = best.max_load(), load = best_load;
  Packing before = packing;
  for (int round = 0; round < rounds && best_load > target; ++round) {
    const int rank = packing.busiest();
    for (int left = 1 + pick(rng, 3); left > 0; --left) disturb_once(packing, filler, rank, rng);
    descend(packing, filler, target, kDescendSteps);
    const double now = packing.max_load();
    if (now < best_load) {
      best = packing;
      best_load = now;
    }
    if (now <= load * (1 - 1e-12) || now <= best_load * kAccept) {
      before = packing;
      load = now;
    } else {
      packing = before;
    }
  }
  packing = best;
}

}  // namespace wingspan
