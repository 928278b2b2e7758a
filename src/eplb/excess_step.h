// The step at one rank that lowers most what the ranks carry above a target.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "eplb/local_search.h"
#include "eplb/packing.h"

namespace wingspan {

// What the part of a load above the target weighs is its square: steps lower the sum of this over
// ranks, so one may raise a rank that has room, or even one that has none, for a greater good.
class ExcessSteps {
 public:
  // `packing` must outlive this object and may change between calls; `origin` are the slots that a
  // step's moves count from.
  ExcessSteps(const Packing& packing, std::vector<int> origin, int usable_ranks, double target);

  // Of the steps at `rank` that change at most `room` more slots, the one that lowers the excess
  // most for each slot that it changes. kNone: none lowers it.
  Step best(int rank, int room);

  // Slots that would differ from the origin in addition.
  int extra_moves(const Step& step) const;
  // Whether rules 2 and 3 let the slot's expert go: one with more replicas than ranks must stay on
  // every rank.
  bool may_leave(int slot) const;
  bool may_replace(int slot, int expert) const;

 private:
  double excess(double load) const {
    const double over = std::max(load - target_, 0.0);
    return over * over;
  }
  // A slot whose expert may go, and what the loop over them needs.
  struct Leaving {
    int slot, home, old;
    double rest;           // its rank's load without it
    double gain;           // its rank's excess, less what it adds on the others with its expert
    double most_per_gain;  // what a gain of 1 counts at most: 1 ÷ the moves, at least
    uint64_t held;         // Packing::held of its expert
  };

  bool changed(int slot) const { return packing_.expert(slot) != origin_[at(slot)]; }
  void measure();
  void mark_stale(int expert);
  void refresh_share(int expert);
  void measure_rank(int rank);
  void measure_expert(int expert);
  void list_leaving(int rank);
  void offer(const Step& step, double gain);
  template <class Try>
  void try_high_rates(size_t count, const Try& attempt);
  void replace_with_any(const Leaving& leaving);
  void replicate_elsewhere(int rank);
  double replace_rate(const Leaving& leaving, int expert) const;
  void try_replace(const Leaving& leaving, int expert);
  double replace_gain(int slot, int expert) const;
  void try_swaps(int rank, int other);
  void try_swaps_of(int slot, int other, double most_per_gain);

  const Packing& packing_;
  std::vector<int> origin_;  // [slots]
  int usable_ranks_;
  double target_;

  // Of the packing as it is: each call of best() brings up to date what has changed.
  std::vector<int> replicas_;        // [experts], for which the next three hold
  std::vector<double> arriving_;     // [experts]: a replica's share with one more of them
  std::vector<double> fall_, rise_;  // [experts]: of each replica's share, with one more, one less
  std::vector<double> relief_;       // [experts]: excess less where held, with one replica more
  std::vector<double> loss_;         // [experts]: excess more where held, with one replica less
  std::vector<char> stale_;          // [experts]: relief_ and loss_ are to be measured
  std::vector<int> stale_experts_;   // the same as a list
  std::vector<int> replicated_;      // experts with two replicas or more
  bool recounted_ = false;           // some of replicas_ has changed
  std::vector<int> expert_;          // [slots], for which the rest holds
  std::vector<double> load_;         // [ranks], likewise
  std::vector<double> excess_;       // [ranks]
  std::vector<std::vector<int>> changed_;  // [ranks]: slots that differ from the origin
  std::vector<Leaving> leaving_here_, leaving_elsewhere_;  // on the rank at hand; on the others
  std::vector<double> rates_;                              // scratch
  Step best_;
  double best_rate_ = 0;
  int room_ = 0;
};

}  // namespace wingspan
