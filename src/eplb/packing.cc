#include "eplb/packing.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace wingspan {

Packing::Packing(const ShareModel& shares, std::span<const int> rank_slots,
                 std::span<const int> slot_to_expert)
    : shares_(&shares),
      first_(rank_slots.size() + 1),
      expert_(slot_to_expert.begin(), slot_to_expert.end()),
      rank_of_(slot_to_expert.size()),
      next_(slot_to_expert.size(), -1),
      weight_(slot_to_expert.size()),
      head_(index(shares.experts()), -1),
      replicas_(index(shares.experts())),
      held_(index(shares.experts())),
      share_(index(shares.experts())),
      load_(rank_slots.size()) {
  std::partial_sum(rank_slots.begin(), rank_slots.end(), first_.begin() + 1);
  WS_CHECK(first_.back() == slots(), "{} rank slots, {} slots", first_.back(), slots());
  for (int rank = 0; rank < ranks(); ++rank) {
    for (int s = first_slot(rank); s < end_slot(rank); ++s) rank_of_[index(s)] = rank;
  }
  for (int s = slots() - 1; s >= 0; --s) link(s, expert_[index(s)]);
  for (int e = 0; e < experts(); ++e) {
    WS_CHECK(replicas(e) > 0, "expert {} has no slot", e);
    share_[index(e)] = shares_->of(e, replicas(e));
  }
  for (int s = 0; s < slots(); ++s) weight_[index(s)] = share(expert(s));
  for (int rank = 0; rank < ranks(); ++rank) refresh_rank(rank);
}

void Packing::link(int slot, int expert) {
  expert_[index(slot)] = expert;
  next_[index(slot)] = head_[index(expert)];
  head_[index(expert)] = slot;
  ++replicas_[index(expert)];
  held_[index(expert)] |= bit(rank_of(slot));
}

void Packing::unlink(int slot) {
  const int expert = expert_[index(slot)];
  int* at = &head_[index(expert)];
  while (*at != slot) at = &next_[index(*at)];
  *at = next_[index(slot)];
  --replicas_[index(expert)];
  uint64_t held = 0;
  for (int s = first_of(expert); s >= 0; s = next_of(s)) held |= bit(rank_of(s));
  held_[index(expert)] = held;
}

void Packing::refresh_rank(int rank) {
  double sum = 0;
  for (int s = first_slot(rank); s < end_slot(rank); ++s) sum += weight_[index(s)];
  load_[index(rank)] = sum;
}

void Packing::refresh_expert(int expert) {
  share_[index(expert)] = shares_->of(expert, replicas(expert));
  for (int s = first_of(expert); s >= 0; s = next_of(s)) weight_[index(s)] = share(expert);
  for (int s = first_of(expert); s >= 0; s = next_of(s)) refresh_rank(rank_of(s));
}

void Packing::swap_slots(int a, int b) {
  const int at_a = expert(a), at_b = expert(b);
  unlink(a);
  unlink(b);
  link(a, at_b);
  link(b, at_a);
  std::swap(weight_[index(a)], weight_[index(b)]);
  refresh_rank(rank_of(a));
  refresh_rank(rank_of(b));
}

void Packing::replace(int slot, int expert) {
  const int old = this->expert(slot);
  WS_CHECK(replicas(old) > 1 && old != expert, "slot {} holds {}, for {}", slot, old, expert);
  unlink(slot);
  link(slot, expert);
  refresh_expert(old);
  refresh_expert(expert);
}

std::pair<int, double> Packing::two_busiest() const {
  int most = 0;
  double load = load_[0], next = 0;
  for (int rank = 1; rank < ranks(); ++rank) {
    const double l = load_[index(rank)];
    if (l > load) {
      next = load;
      load = l;
      most = rank;
    } else {
      next = std::max(next, l);
    }
  }
  return {most, next};
}

int Packing::busiest() const { return two_busiest().first; }

// The least is kept in a register: with std::min_element, which reads it again each time, a plan
// for 128 ranks takes a fifth longer.
int Packing::idlest() const {
  int least = 0;
  double load = load_[0];
  for (int rank = 1; rank < ranks(); ++rank) {
    if (load_[index(rank)] >= load) continue;
    least = rank;
    load = load_[index(rank)];
  }
  return least;
}

}  // namespace wingspan
