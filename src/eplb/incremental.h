// Small changes to a placement that is running: the largest rank load that a given number of moved
// slots can reach.
#pragma once

#include <span>
#include <vector>

#include "eplb/plan.h"

namespace wingspan {

// A placement of one layer that differs from the running one in `moves` slots.
struct FrontierPoint {
  int moves = 0;
  double cost = 0;  // the largest rank's, in the objective's units
  std::vector<int> slot_to_expert;
};

struct FrontierOptions {
  Objective objective = Objective::kTokens;
  double rows = 1;
  int most_moves = 1 << 30;
  // Searches for few moves on their own, too: better points there, for some times the work. One
  // move is then the best one, in small pools so are two or more.
  bool thorough = false;
  // Steps lower what the ranks carry above this; a cost at or below `enough`, which is at least
  // that, is good enough to stop.
  double target = 0, enough = 0;
  // Replicas that cost more than this times the least possible largest replica are evened out
  // first: where they creep up over many small changes, no small change helps in the end.
  double evening = 1.35;
  // The least possible largest replica of a flat placement, where it is known; 0: work it out.
  double least_replica = 0;
};

// From the running placement (first, 0 moves) to ever more moves and ever lower costs, by steps at
// the busiest rank, each the one that most lowers what the ranks carry above the target (squared),
// for each slot that it changes. A slot that
// gets its old expert back counts no more. Groups stay on their nodes.
//
// `proven_moves`, if given, gets the number of moves up to which a point that is better than those
// here does not exist.
std::vector<FrontierPoint> layer_frontier(const Topology& topology, std::span<const double> load,
                                          std::span<const int> current,
                                          const FrontierOptions& options,
                                          int* proven_moves = nullptr);

// Chooses one point a layer so that the costs add up to least with at most `budget` moves in all.
// Exact up to some 50 million steps of work, beyond that along the lower convex hulls.
std::vector<size_t> choose_within(const std::vector<std::vector<FrontierPoint>>& frontiers,
                                  int64_t budget);

}  // namespace wingspan
