#include "eplb/excess_step.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "eplb/rates.h"

namespace wingspan {
namespace {

// The moves that a step counts for: two slots that are as they were, or one that changes no more
// slots than were changed before.
constexpr double kTwoMoves = 2, kGivesBack = 0.5;

}  // namespace

ExcessSteps::ExcessSteps(const Packing& packing, std::vector<int> origin, int usable_ranks,
                         double target)
    : packing_(packing),
      origin_(std::move(origin)),
      usable_ranks_(usable_ranks),
      target_(target),
      replicas_(at(packing.experts())),
      arriving_(at(packing.experts()) + 1),
      fall_(at(packing.experts())),
      rise_(at(packing.experts())),
      relief_(at(packing.experts()) + 1),
      loss_(at(packing.experts())),
      stale_(at(packing.experts())),
      expert_(packing.slot_to_expert()),
      load_(at(packing.ranks()), std::numeric_limits<double>::quiet_NaN()),
      excess_(at(packing.ranks())),
      changed_(at(packing.ranks())),
      rates_(at(packing.slots()) + 1) {}

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

void ExcessSteps::mark_stale(int expert) {
  if (stale_[at(expert)] == 0) stale_experts_.push_back(expert);
  stale_[at(expert)] = 1;
}

void ExcessSteps::refresh_share(int expert) {
  const int replicas = packing_.replicas(expert);
  if (replicas_[at(expert)] == replicas) return;
  recounted_ = true;
  replicas_[at(expert)] = replicas;
  arriving_[at(expert)] = packing_.share_with(expert, 1);
  fall_[at(expert)] = packing_.share(expert) - arriving_[at(expert)];
  rise_[at(expert)] = replicas > 1 ? packing_.share_with(expert, -1) - packing_.share(expert) : 0;
}

void ExcessSteps::measure() {
  for (int rank = 0; rank < packing_.ranks(); ++rank) measure_rank(rank);
  for (const int e : stale_experts_) measure_expert(e);
  stale_experts_.clear();
  if (!recounted_) return;
  recounted_ = false;
  replicated_.clear();
  for (int e = 0; e < packing_.experts(); ++e) {
    if (replicas_[at(e)] > 1) replicated_.push_back(e);
  }
}

// What has changed since the last call; all of it at the first, when every load is new.
void ExcessSteps::measure_rank(int rank) {
  const int first = packing_.first_slot(rank), end = packing_.end_slot(rank);
  const double load = packing_.load(rank);
  const int* now = packing_.slot_to_expert().data();
  if (load == load_[at(rank)] && std::equal(now + first, now + end, expert_.data() + first)) return;
  auto& changes = changed_[at(rank)];
  changes.clear();
  for (int slot = first; slot < end; ++slot) {
    const int expert = packing_.expert(slot), before = expert_[at(slot)];
    if (expert != origin_[at(slot)]) changes.push_back(slot);
    mark_stale(expert);
    refresh_share(expert);
    if (expert == before) continue;
    mark_stale(before);
    refresh_share(before);
    expert_[at(slot)] = expert;
  }
  load_[at(rank)] = load;
  excess_[at(rank)] = excess(load);
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

void ExcessSteps::list_leaving(int rank) {
  leaving_here_.clear();
  leaving_elsewhere_.clear();
  for (const int e : replicated_) {
    for (int s = packing_.first_of(e); s >= 0; s = packing_.next_of(s)) {
      if (!may_leave(s)) continue;
      const int home = packing_.rank_of(s);
      const double load = load_[at(home)], now = excess_[at(home)];
      auto& list = home == rank ? leaving_here_ : leaving_elsewhere_;
      const double elsewhere = loss_[at(e)] - (excess(load + rise_[at(e)]) - now);
      list.push_back({s, home, e, load - packing_.weight(s), now - elsewhere,
                      changed(s) ? 2.0 : 1.0, packing_.held(e)});
    }
  }
}

void ExcessSteps::offer(const Step& step, double gain) {
  const int more = extra_moves(step);
  const double rate = gain / std::max(kGivesBack, static_cast<double>(more));
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

// What a replacement brings for each slot that it changes, at most by room for error where a rank
// holds both experts: there it brings more than this, since the rank's two changes cancel in part.
double ExcessSteps::replace_rate(const Leaving& l, int expert) const {
  return (l.gain + relief_[at(expert)] - excess(l.rest + arriving_[at(expert)])) * l.most_per_gain;
}

void ExcessSteps::try_replace(const Leaving& l, int expert) {
  if (l.old == expert || packing_.holds(l.home, expert)) return;
  const bool apart = (l.held & packing_.held(expert)) == 0;
  const double gain =
      apart ? replace_rate(l, expert) / l.most_per_gain : replace_gain(l.slot, expert);
  offer({Step::Kind::kReplace, l.slot, expert, 0}, gain);
}

template <class Try>
void ExcessSteps::try_high_rates(size_t count, const Try& attempt) {
  for (size_t i = 0; i < count; ++i) {
    if (rates_[i] > best_rate_) attempt(i);
  }
}

// Another expert in place of one of the rank's own.
void ExcessSteps::replace_with_any(const Leaving& l) {
  const Two rest = two(l.rest - target_), gain = two(l.gain), each = two(l.most_per_gain);
  const double most = fill_rates(at(packing_.experts()), rates_.data(), [&](size_t e) {
    return (gain + load_two(&relief_[e]) - excess_two(rest + load_two(&arriving_[e]))) * each;
  });
  if (most <= best_rate_) return;
  try_high_rates(at(packing_.experts()), [&](size_t e) { try_replace(l, static_cast<int>(e)); });
}

// A further replica, elsewhere, of an expert that the rank holds.
void ExcessSteps::replicate_elsewhere(int rank) {
  const int first = packing_.first_slot(rank), end = packing_.end_slot(rank);
  double relief = 0, arriving = std::numeric_limits<double>::infinity();
  for (int s = first; s < end; ++s) {
    relief = std::max(relief, relief_[at(packing_.expert(s))]);
    arriving = std::min(arriving, arriving_[at(packing_.expert(s))]);
  }
  for (const Leaving& l : leaving_elsewhere_) {
    // What no expert of the rank makes better than the best so far is left out at once.
    const double most = l.gain + relief - excess(l.rest + arriving);
    if (most * l.most_per_gain <= best_rate_) continue;
    for (int s = first; s < end; ++s) {
      const int e = packing_.expert(s);
      if (replace_rate(l, e) > best_rate_) try_replace(l, e);
    }
  }
}

// The slot with each one of a rank; `most_per_gain` is the most that a gain of 1 can count.
void ExcessSteps::try_swaps_of(int slot, int other, double most_per_gain) {
  const int rank = packing_.rank_of(slot), first = packing_.first_slot(other);
  const size_t count = at(packing_.end_slot(other) - first);
  const Two now = two(excess_[at(rank)] + excess_[at(other)]), each = two(most_per_gain);
  const Two mine = two(load_[at(rank)] - packing_.weight(slot) - target_);
  const Two theirs = two(load_[at(other)] + packing_.weight(slot) - target_);
  const double* weight = packing_.weights() + first;
  const auto rate = [&](Two w) {
    return (now - excess_two(mine + w) - excess_two(theirs - w)) * each;
  };
  // An odd one is its own neighbour: beyond it lies another rank's.
  double most = fill_rates(count / 2 * 2, rates_.data(),
                           [&](size_t i) { return rate(load_two(weight + i)); });
  if (count % 2 != 0) {
    rates_[count - 1] = rate(two(weight[count - 1]))[0];
    most = std::max(most, rates_[count - 1]);
  }
  if (most <= best_rate_) return;
  try_high_rates(count, [&](size_t i) {
    const int to = first + static_cast<int>(i);
    if (packing_.holds(rank, packing_.expert(to)) || packing_.holds(other, packing_.expert(slot))) {
      return;
    }
    offer({Step::Kind::kSwap, slot, to, 0}, rates_[i] / most_per_gain);
  });
}

void ExcessSteps::try_swaps(int rank, int other) {
  const double la = load_[at(rank)], lb = load_[at(other)];
  if (lb >= la) return;
  // No exchange is better than one that makes the two equal.
  const double ceiling = excess_[at(rank)] + excess_[at(other)] - 2 * excess((la + lb) / 2);
  const bool some_changed = !changed_[at(rank)].empty() || !changed_[at(other)].empty();
  if (ceiling > kTwoMoves * best_rate_) {
    const double most_per_gain = 1 / (some_changed ? kGivesBack : kTwoMoves);
    for (int a = packing_.first_slot(rank); a < packing_.end_slot(rank); ++a) {
      try_swaps_of(a, other, most_per_gain);
    }
  } else if (some_changed && ceiling > kGivesBack * best_rate_) {
    for (const int a : changed_[at(rank)]) try_swaps_of(a, other, 1 / kGivesBack);
    for (const int b : changed_[at(other)]) try_swaps_of(b, rank, 1 / kGivesBack);
  }
}

Step ExcessSteps::best(int rank, int room) {
  measure();
  list_leaving(rank);
  best_ = {};
  best_rate_ = excess_[at(rank)] * 1e-9;
  room_ = room;
  // Exchanges first: they are found quickly and then rule most other steps out.
  const int idlest = packing_.idlest();
  if (idlest != rank) try_swaps(rank, idlest);
  for (int other = 0; other < packing_.ranks(); ++other) {
    if (other != rank && other != idlest) try_swaps(rank, other);
  }
  for (const Leaving& l : leaving_here_) replace_with_any(l);
  replicate_elsewhere(rank);
  return best_;
}

}  // namespace wingspan
