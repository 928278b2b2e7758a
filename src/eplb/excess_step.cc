#include "eplb/excess_step.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "eplb/share_order.h"

namespace wingspan {

ExcessSteps::ExcessSteps(const Packing& packing, std::vector<int> origin, int usable_ranks,
                         double target)
    : packing_(packing),
      origin_(std::move(origin)),
      usable_ranks_(usable_ranks),
      target_(target),
      replicas_(at(packing.experts())),
      fall_(at(packing.experts())),
      rise_(at(packing.experts())),
      relief_(at(packing.experts())),
      loss_(at(packing.experts())),
      stale_(at(packing.experts()), 1),
      expert_(packing.slot_to_expert()),
      load_(at(packing.ranks())),
      excess_(at(packing.ranks())),
      lightest_(at(packing.ranks())),
      changed_(at(packing.ranks())) {
  leaving_.reserve(at(packing.slots()));
}

int ExcessSteps::extra_moves(const Step& step) const {
  const auto differs = [&](int slot, int expert) { return expert != origin_[at(slot)] ? 1 : 0; };
  const auto change = [&](int slot, int expert) {
    return differs(slot, expert) - differs(slot, packing_.expert(slot));
  };
  if (step.kind == Step::Kind::kReplace) return change(step.slot, step.other);
  return change(step.slot, packing_.expert(step.other)) +
         change(step.other, packing_.expert(step.slot));
}

bool ExcessSteps::may_leave(int slot) const {
  const int old = packing_.expert(slot);
  if (packing_.replicas(old) <= usable_ranks_) return packing_.replicas(old) > 1;
  for (int s = packing_.first_of(old); s >= 0; s = packing_.next_of(s)) {
    if (s != slot && packing_.rank_of(s) == packing_.rank_of(slot)) return true;
  }
  return false;
}

bool ExcessSteps::may_replace(int slot, int expert) const {
  return packing_.expert(slot) != expert && may_leave(slot) &&
         !packing_.holds(packing_.rank_of(slot), expert);
}

void ExcessSteps::refresh_shares() {
  bool any = false;
  for (int e = 0; e < packing_.experts(); ++e) {
    const int replicas = packing_.replicas(e);
    if (replicas_[at(e)] == replicas) continue;
    any = true;
    stale_[at(e)] = 1;
    replicas_[at(e)] = replicas;
    fall_[at(e)] = packing_.share(e) - packing_.share_with(e, 1);
    rise_[at(e)] = replicas > 1 ? packing_.share_with(e, -1) - packing_.share(e) : 0;
  }
  if (any) sort_arrivals();
}

// Anew only once: a step changes two experts.
void ExcessSteps::sort_arrivals() {
  const auto before = [this](int a, int b) {
    const double x = arriving(a), y = arriving(b);
    return x != y ? x < y : a < b;
  };
  if (arrivals_.empty()) {
    arrivals_.resize(at(packing_.experts()));
    std::iota(arrivals_.begin(), arrivals_.end(), 0);
    std::sort(arrivals_.begin(), arrivals_.end(), before);
    return;
  }
  sort_nearly_sorted(arrivals_, before);
}

void ExcessSteps::measure() {
  refresh_shares();
  measure_ranks();
  for (int e = 0; e < packing_.experts(); ++e) {
    if (stale_[at(e)] != 0) measure_expert(e);
  }
  list_leaving();
}

void ExcessSteps::measure_ranks() {
  for (int rank = 0; rank < packing_.ranks(); ++rank) {
    const double load = packing_.load(rank);
    const bool same = load == load_[at(rank)];
    auto& changes = changed_[at(rank)];
    changes.clear();
    double lightest = std::numeric_limits<double>::infinity();
    for (int slot = packing_.first_slot(rank); slot < packing_.end_slot(rank); ++slot) {
      const int expert = packing_.expert(slot);
      lightest = std::min(lightest, packing_.weight(slot));
      if (expert != origin_[at(slot)]) changes.push_back(slot);
      if (same && expert == expert_[at(slot)]) continue;
      stale_[at(expert)] = stale_[at(expert_[at(slot)])] = 1;
      expert_[at(slot)] = expert;
    }
    lightest_[at(rank)] = lightest;
    load_[at(rank)] = load;
    excess_[at(rank)] = excess(load);
  }
}

void ExcessSteps::measure_expert(int expert) {
  double relief = 0, loss = 0;
  const double fall = fall_[at(expert)], rise = rise_[at(expert)];
  for (int s = packing_.first_of(expert); s >= 0; s = packing_.next_of(s)) {
    const auto rank = at(packing_.rank_of(s));
    relief += excess_[rank] - excess(load_[rank] - fall);
    loss += excess(load_[rank] + rise) - excess_[rank];
  }
  relief_[at(expert)] = relief;
  loss_[at(expert)] = loss;
  stale_[at(expert)] = 0;
}

void ExcessSteps::list_leaving() {
  leaving_.clear();
  for (int e = 0; e < packing_.experts(); ++e) {
    if (packing_.replicas(e) < 2) continue;
    for (int s = packing_.first_of(e); s >= 0; s = packing_.next_of(s)) {
      if (!may_leave(s)) continue;
      const int home = packing_.rank_of(s);
      const double load = load_[at(home)], now = excess_[at(home)];
      leaving_.push_back({s, home, e, load, now, packing_.weight(s),
                          loss_[at(e)] - (excess(load + rise_[at(e)]) - now),
                          changed(s) ? 0.5 : 1.0, packing_.held(e)});
    }
  }
}

void ExcessSteps::offer(const Step& step, double gain) {
  const int more = extra_moves(step);
  const double rate = gain / std::max(0.5, static_cast<double>(more));
  if (rate <= best_rate_ || more > room_) return;
  best_rate_ = rate;
  best_ = step;
}

// Exact also where a rank holds both experts.
double ExcessSteps::replace_gain(int slot, int expert) const {
  const int old = packing_.expert(slot), home = packing_.rank_of(slot);
  const double rise = rise_[at(old)], fall = fall_[at(expert)];
  const double load = packing_.load(home);
  double gain =
      excess_[at(home)] - excess(load - packing_.weight(slot) + packing_.share(expert) - fall);
  for (int s = packing_.first_of(old); s >= 0; s = packing_.next_of(s)) {
    if (s == slot) continue;
    const int rank = packing_.rank_of(s);
    const double after = packing_.load(rank) + rise - (packing_.holds(rank, expert) ? fall : 0);
    gain += excess_[at(rank)] - excess(after);
  }
  for (int s = packing_.first_of(expert); s >= 0; s = packing_.next_of(s)) {
    const int rank = packing_.rank_of(s);
    if (packing_.holds(rank, old)) continue;  // counted above
    gain += excess_[at(rank)] - excess(packing_.load(rank) - fall);
  }
  return gain;
}

// What the slot's old expert then costs elsewhere only takes away from `gain`, which counts it
// where no rank holds both.
inline void ExcessSteps::try_replace(const Leaving& l, int expert) {
  const bool apart = (l.held & packing_.held(expert)) == 0;
  const double gain = l.now - excess(l.load - l.weight + arriving(expert)) + relief_[at(expert)] -
                      (apart ? l.loss : 0);
  if (gain <= l.least * best_rate_ || l.old == expert || packing_.holds(l.home, expert)) return;
  offer({Step::Kind::kReplace, l.slot, expert, 0}, apart ? gain : replace_gain(l.slot, expert));
}

void ExcessSteps::replace_with_any(const Leaving& l) {
  for (int e = 0; e < packing_.experts(); ++e) {
    if (relief_[at(e)] > 0) try_replace(l, e);
  }
  // The others bring nothing but their own share: the smaller, the better.
  for (const int e : arrivals_) {
    const double own = l.now - excess(l.load - l.weight + arriving(e));
    if (own - l.loss <= l.least * best_rate_) break;
    if (relief_[at(e)] <= 0) try_replace(l, e);
  }
}

void ExcessSteps::try_swap(int a, int b, double now) {
  const int rank = packing_.rank_of(a), other = packing_.rank_of(b);
  const double shift = packing_.weight(a) - packing_.weight(b);
  if (shift <= 0) return;
  const double gain = now - excess(load_[at(rank)] - shift) - excess(load_[at(other)] + shift);
  const double least = changed(a) || changed(b) ? 0.5 : 2;
  if (gain <= least * best_rate_ || packing_.holds(rank, packing_.expert(b)) ||
      packing_.holds(other, packing_.expert(a))) {
    return;
  }
  offer({Step::Kind::kSwap, a, b, 0}, gain);
}

void ExcessSteps::try_swaps(int rank, int other) {
  const double la = load_[at(rank)], lb = load_[at(other)];
  if (lb >= la) return;
  const double now = excess_[at(rank)] + excess_[at(other)], middle = (la - lb) / 2;
  // No exchange is better than one that makes the two equal.
  const double ceiling = now - 2 * excess(la - middle);
  if (ceiling <= 0.5 * best_rate_) return;
  for (int a = packing_.first_slot(rank); a < packing_.end_slot(rank); ++a) {
    const double widest = packing_.weight(a) - lightest_[at(other)];
    const double most = widest < middle ? now - excess(la - widest) - excess(lb + widest) : ceiling;
    if (widest <= 0 || most <= 0.5 * best_rate_) continue;
    // Two slots that are as they were count for two moves.
    if (changed(a) || most > 2 * best_rate_) {
      for (int b = packing_.first_slot(other); b < packing_.end_slot(other); ++b) {
        try_swap(a, b, now);
      }
    } else {
      for (const int b : changed_[at(other)]) try_swap(a, b, now);
    }
  }
}

Step ExcessSteps::best(int rank, int room) {
  measure();
  best_ = {};
  best_rate_ = excess_[at(rank)] * 1e-9;
  room_ = room;
  // A replica of another expert in place of one of the rank's own...
  for (const Leaving& l : leaving_) {
    if (l.home == rank) replace_with_any(l);
  }
  // ... or a further replica, elsewhere, of an expert that the rank holds, or an exchange.
  for (int a = packing_.first_slot(rank); a < packing_.end_slot(rank); ++a) {
    for (const Leaving& l : leaving_) {
      if (l.home != rank) try_replace(l, packing_.expert(a));
    }
  }
  const int idlest = packing_.idlest();
  if (idlest != rank) try_swaps(rank, idlest);
  for (int other = 0; other < packing_.ranks(); ++other) {
    if (other != rank && other != idlest) try_swaps(rank, other);
  }
  return best_;
}

}  // namespace wingspan
