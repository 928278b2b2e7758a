#include "eplb/local_search.h"

#include <algorithm>

namespace wingspan {
namespace {

double second_load(const Packing& packing, int busiest) {
  double load = 0;
  for (int rank = 0; rank < packing.ranks(); ++rank) {
    if (rank != busiest) load = std::max(load, packing.load(rank));
  }
  return load;
}

}  // namespace

Step StepFinder::best_swap(int rank, double limit, double enough) const {
  Step best;
  best.load = limit;
  const double load = packing_.load(rank);
  const int first = packing_.first_slot(rank), end = packing_.end_slot(rank);
  // From the least loaded rank on: it has most room, so `enough` is found soonest.
  const int least = packing_.idlest();
  for (int i = 0; i < packing_.ranks(); ++i) {
    const int other = (least + i) % packing_.ranks();
    const double gap = load - packing_.load(other);
    // Even a perfect exchange leaves the mean of the two.
    if (load - gap / 2 >= best.load) continue;
    for (int b = packing_.first_slot(other); b < packing_.end_slot(other); ++b) {
      const double light = packing_.weight(b);
      for (int a = first; a < end; ++a) {
        const double shift = packing_.weight(a) - light;
        const double after = load - std::min(shift, gap - shift);
        if (after >= best.load || !movable(a) || !movable(b) ||
            packing_.holds(other, packing_.expert(a)) || packing_.holds(rank, packing_.expert(b))) {
          continue;
        }
        best = {Step::Kind::kSwap, a, b, after};
        if (after <= enough) return best;
      }
    }
  }
  return best;
}

double StepFinder::replaced_load(int slot, int expert, double limit) const {
  const int old = packing_.expert(slot), home = packing_.rank_of(slot);
  const double rise = packing_.share_with(old, -1) - packing_.share(old);
  const double fall = packing_.share(expert) - packing_.share_with(expert, 1);
  double most = packing_.load(home) - packing_.weight(slot) + packing_.share(expert) - fall;
  for (int s = packing_.first_of(old); s >= 0 && most < limit; s = packing_.next_of(s)) {
    const int rank = packing_.rank_of(s);
    if (s == slot) continue;
    double load = packing_.load(rank) + rise;
    if (load >= limit && packing_.holds(rank, expert)) load -= fall;
    most = std::max(most, load);
  }
  for (int s = packing_.first_of(expert); s >= 0 && most < limit; s = packing_.next_of(s)) {
    const int rank = packing_.rank_of(s);
    double load = packing_.load(rank) - fall;
    if (packing_.holds(rank, old)) load += rise;
    most = std::max(most, load);
  }
  return most;
}

void StepFinder::try_replace(int slot, int expert, Step& best) const {
  const int old = packing_.expert(slot);
  if (old == expert || packing_.replicas(old) < 2 || !movable(slot) || expert == filler_ ||
      packing_.holds(packing_.rank_of(slot), expert)) {
    return;
  }
  const double load = replaced_load(slot, expert, best.load);
  if (load < best.load) best = {Step::Kind::kReplace, slot, expert, load};
}

Step StepFinder::best_replace(int rank, double limit, double enough) const {
  Step best;
  best.load = limit;
  // A further replica, elsewhere, of an expert that the rank holds...
  for (int s = packing_.first_slot(rank); s < packing_.end_slot(rank); ++s) {
    const int expert = packing_.expert(s);
    for (int slot = 0; slot < packing_.slots(); ++slot) {
      if (packing_.replicas(packing_.expert(slot)) < 2 || packing_.rank_of(slot) == rank) continue;
      try_replace(slot, expert, best);
      if (best.load <= enough) return best;
    }
  }
  // ... or a replica of another expert in place of one of its own.
  for (int slot = packing_.first_slot(rank); slot < packing_.end_slot(rank); ++slot) {
    if (packing_.replicas(packing_.expert(slot)) < 2) continue;
    for (int expert = 0; expert < packing_.experts(); ++expert) {
      try_replace(slot, expert, best);
      if (best.load <= enough) return best;
    }
  }
  return best;
}

void apply(const Step& step, Packing& packing) {
  if (step.kind == Step::Kind::kSwap) packing.swap_slots(step.slot, step.other);
  if (step.kind == Step::Kind::kReplace) packing.replace(step.slot, step.other);
}

int descend(Packing& packing, int filler, double target, int max_steps) {
  const StepFinder finder(packing, filler);
  int steps = 0;
  for (; steps < max_steps; ++steps) {
    const int rank = packing.busiest();
    const double load = packing.load(rank), limit = load * kProgress;
    if (load <= target) break;
    // More than down to the next busiest rank can't be gained in one step.
    const double enough = std::max(target, second_load(packing, rank));
    Step step = finder.best_swap(rank, limit, enough);
    if (step.load > enough) {
      const Step other = finder.best_replace(rank, std::min(limit, step.load), enough);
      if (other.kind != Step::Kind::kNone) step = other;
    }
    if (step.kind == Step::Kind::kNone) break;
    apply(step, packing);
  }
  return steps;
}

}  // namespace wingspan
