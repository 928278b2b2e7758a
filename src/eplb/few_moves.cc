#include "eplb/few_moves.h"

#include <algorithm>

#include "base/check.h"

namespace wingspan {
namespace {

// Adds changes one by one. Each must answer what is wrong with the placement so far: an expert
// without a slot, a rank that is no better than the best, a second replica on a rank. Whatever
// better placement there is contains such a change, so none is missed.
class FewMovesSearch {
 public:
  FewMovesSearch(const ShareModel& shares, std::span<const int> rank_slots,
                 std::span<const int> current, int64_t max_nodes)
      : shares_(shares),
        slots_(current.begin(), current.end()),
        changed_(current.size()),
        replicas_(at(shares.experts())),
        load_(rank_slots.size()),
        nodes_left_(max_nodes) {
    for (size_t rank = 0; rank < rank_slots.size(); ++rank) {
      for (int i = 0; i < rank_slots[rank]; ++i) rank_of_.push_back(static_cast<int>(rank));
      ranks_ += rank_slots[rank] > 0 ? 1 : 0;
    }
    WS_CHECK(rank_of_.size() == slots_.size(), "{} rank slots", rank_of_.size());
    for (const int e : slots_) ++replicas_[at(e)];
    // What the replicas of an expert cost together never falls below what one costs.
    for (int e = 0; e < experts(); ++e) enough_ += shares.of(e, 1) / ranks_;
    best_ = {largest(), slots_};
  }

  const FewMovesPoint& best() const { return best_; }
  // False: the nodes did not suffice.
  bool search(int moves) {
    extend(moves);
    return nodes_left_ >= 0;
  }

 private:
  int experts() const { return static_cast<int>(replicas_.size()); }

  // Sums the ranks' loads, experts without a slot left out.
  double largest() {
    std::fill(load_.begin(), load_.end(), 0.0);
    for (size_t s = 0; s < slots_.size(); ++s) {
      load_[at(rank_of_[s])] += shares_.of(slots_[s], replicas_[at(slots_[s])]);
    }
    return *std::max_element(load_.begin(), load_.end());
  }

  void extend(int left) {
    if (--nodes_left_ < 0) return;
    const auto missing = std::find(replicas_.begin(), replicas_.end(), 0);
    if (missing != replicas_.end()) {
      if (left > 0) place_anywhere(static_cast<int>(missing - replicas_.begin()), left);
      return;
    }
    const double most = largest();
    if (most < best_.cost * kProgress) {
      const int doubled = doubled_expert();
      if (doubled >= 0) {
        if (left > 0) part_replicas(doubled, left);
        return;
      }
      best_ = {most, slots_};
    }
    if (left == 0 || best_.cost * kProgress <= enough_) return;
    relieve(static_cast<int>(std::find(load_.begin(), load_.end(), most) - load_.begin()), left);
  }

  void change(int slot, int expert, int left) {
    const int old = slots_[at(slot)];
    if (changed_[at(slot)] != 0 || old == expert || nodes_left_ < 0) return;
    changed_[at(slot)] = 1;
    slots_[at(slot)] = expert;
    --replicas_[at(old)];
    ++replicas_[at(expert)];
    extend(left - 1);
    ++replicas_[at(old)];
    --replicas_[at(expert)];
    slots_[at(slot)] = old;
    changed_[at(slot)] = 0;
  }

  void place_anywhere(int expert, int left) {
    for (int s = 0; s < static_cast<int>(slots_.size()); ++s) change(s, expert, left);
  }

  // Another expert on the rank, or a replica elsewhere of one that it holds.
  void relieve(int rank, int left) {
    const std::vector<int> before = slots_;
    for (int s = 0; s < static_cast<int>(before.size()); ++s) {
      if (rank_of_[at(s)] == rank) {
        for (int e = 0; e < experts(); ++e) change(s, e, left);
        continue;
      }
      for (size_t own = 0; own < before.size(); ++own) {
        if (rank_of_[own] == rank && !held_before(before, own, rank)) change(s, before[own], left);
      }
    }
  }

  // Whether the rank has the slot's expert in an earlier slot.
  bool held_before(const std::vector<int>& slots, size_t slot, int rank) const {
    for (size_t s = 0; s < slot; ++s) {
      if (rank_of_[s] == rank && slots[s] == slots[slot]) return true;
    }
    return false;
  }

  // An expert with more second replicas than rule 3 allows, or −1.
  int doubled_expert() const {
    std::vector<int> seconds(replicas_.size());
    for (size_t s = 0; s < slots_.size(); ++s) {
      if (held_before(slots_, s, rank_of_[s])) ++seconds[at(slots_[s])];
    }
    for (int e = 0; e < experts(); ++e) {
      if (seconds[at(e)] > std::max(0, replicas_[at(e)] - ranks_)) return e;
    }
    return -1;
  }

  // Some other expert in place of a replica, or one more where every rank may have one by then.
  void part_replicas(int expert, int left) {
    const std::vector<int> before = slots_;
    for (int s = 0; s < static_cast<int>(before.size()); ++s) {
      if (before[at(s)] == expert) {
        for (int e = 0; e < experts(); ++e) change(s, e, left);
      } else {
        change(s, expert, left);
      }
    }
  }

  const ShareModel& shares_;
  std::vector<int> slots_, rank_of_;  // [slots]
  std::vector<char> changed_;         // [slots]
  std::vector<int> replicas_;         // [experts]
  std::vector<double> load_;          // [ranks]
  int ranks_ = 0;                     // with slots
  double enough_ = 0;                 // no placement costs less
  int64_t nodes_left_;
  FewMovesPoint best_;
};

}  // namespace

FewMoves few_moves(const ShareModel& shares, std::span<const int> rank_slots,
                   std::span<const int> current, int most, int64_t max_nodes) {
  FewMovesSearch search(shares, rank_slots, current, max_nodes);
  FewMoves out;
  out.points.push_back(search.best());
  for (int moves = 1; moves <= most && search.search(moves); ++moves) {
    out.points.push_back(search.best());
  }
  return out;
}

}  // namespace wingspan
