#include "eplb/local_search.h"

#include <algorithm>

namespace wingspan {
Step StepFinder::best_swap(int rank, double limit, double enough) const {
  Step best;
  best.load = limit;
  const double load = packing_.load(rank);
  const int first = packing_.first_slot(rank), end = packing_.end_slot(rank);
  const double* const weight = packing_.weights();
  const double* const loads = packing_.loads();
  const int ranks = packing_.ranks();
  double need = load - limit;  // by which both ranks must come out lower than `load`
  // From the least loaded rank on: it has most room, so `enough` is found soonest.
  int other = packing_.idlest();
  for (int i = 0; i < ranks; ++i, other = other + 1 == ranks ? 0 : other + 1) {
    const double gap = load - loads[other];
    // Even a perfect exchange leaves the mean of the two.
    if (gap / 2 <= need) continue;
    const int other_end = packing_.end_slot(other);
    for (int b = packing_.first_slot(other); b < other_end; ++b) {
      const double light = weight[b];
      for (int a = first; a < end; ++a) {
        const double shift = weight[a] - light;
        if (shift <= need || gap - shift <= need || !may_swap(a, b)) continue;
        need = std::min(shift, gap - shift);
        best = {Step::Kind::kSwap, a, b, load - need};
        if (best.load <= enough) return best;
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
    const auto [rank, second] = packing.two_busiest();
    const double load = packing.load(rank), limit = load * kProgress;
    if (load <= target) break;
    // More than down to the next busiest rank can't be gained in one step.
    const double enough = std::max(target, second);
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
