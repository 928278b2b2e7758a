// A search state: which expert each slot of one pool of ranks holds, with the rank loads kept up to
// date. A pool is all ranks (flat placements) or the ranks of one node (grouped ones); experts and
// ranks are numbered within the pool.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "eplb/share.h"

namespace wingspan {

class Packing {
 public:
  // `shares` must outlive this object. `slot_to_expert` is rank-major with the sum of `rank_slots`
  // entries, each expert at least once.
  Packing(const ShareModel& shares, std::span<const int> rank_slots,
          std::span<const int> slot_to_expert);

  int ranks() const { return static_cast<int>(load_.size()); }
  int experts() const { return static_cast<int>(head_.size()); }
  int slots() const { return static_cast<int>(expert_.size()); }
  int first_slot(int rank) const { return first_[index(rank)]; }
  int end_slot(int rank) const { return first_[index(rank) + 1]; }
  int expert(int slot) const { return expert_[index(slot)]; }
  int rank_of(int slot) const { return rank_of_[index(slot)]; }
  int replicas(int expert) const { return replicas_[index(expert)]; }
  // What each replica of the expert costs now, and with `more` further ones.
  double share(int expert) const { return share_[index(expert)]; }
  double share_with(int expert, int more) const {
    return shares_->of(expert, replicas_[index(expert)] + more);
  }
  // What the slot's replica costs.
  double weight(int slot) const { return weight_[index(slot)]; }
  double load(int rank) const { return load_[index(rank)]; }
  const double* weights() const { return weight_.data(); }  // [slots]
  const double* loads() const { return load_.data(); }      // [ranks]
  const std::vector<int>& slot_to_expert() const { return expert_; }
  const ShareModel& shares() const { return *shares_; }

  // The expert's slots, as a chain: first_of(e), next_of(s), …, −1.
  int first_of(int expert) const { return head_[index(expert)]; }
  int next_of(int slot) const { return next_[index(slot)]; }
  // O(1) for up to 64 ranks, else mostly so.
  bool holds(int rank, int expert) const {
    if ((held_[index(expert)] & bit(rank)) == 0) return false;
    if (ranks() <= 64) return true;
    for (int s = head_[index(expert)]; s >= 0; s = next_[index(s)]) {
      if (rank_of_[index(s)] == rank) return true;
    }
    return false;
  }

  // The ranks that hold the expert, modulo 64, as bits: no rank holds two experts without a common
  // one.
  uint64_t held(int expert) const { return held_[index(expert)]; }

  // Loads are summed anew from the slots of the ranks that change, so they never drift.
  void swap_slots(int a, int b);
  // The slot's expert, which must have another replica, makes room for `expert`.
  void replace(int slot, int expert);

  // The most loaded rank, the lowest of equals; ranks without slots count as empty.
  int busiest() const;
  // The same, and the load of the next.
  std::pair<int, double> two_busiest() const;
  // The least loaded rank, likewise.
  int idlest() const;
  double max_load() const { return load_[index(busiest())]; }

 private:
  static size_t index(int i) { return static_cast<size_t>(i); }
  static uint64_t bit(int rank) { return uint64_t{1} << (static_cast<unsigned>(rank) % 64U); }
  void unlink(int slot);
  void link(int slot, int expert);
  void refresh_expert(int expert);
  void refresh_rank(int rank);

  const ShareModel* shares_;
  std::vector<int> first_;                    // [ranks + 1]
  std::vector<int> expert_, rank_of_, next_;  // [slots]
  std::vector<double> weight_;                // [slots]
  std::vector<int> head_, replicas_;          // [experts]
  std::vector<uint64_t> held_;                // [experts]: the ranks that hold it, modulo 64
  std::vector<double> share_;                 // [experts]
  std::vector<double> load_;                  // [ranks]
};

}  // namespace wingspan
