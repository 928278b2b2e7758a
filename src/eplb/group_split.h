// Which groups of experts go to which node, for grouped placements with too many ways to try all.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace wingspan {

using Groups = std::vector<int>;    // of one node, ascending
using Split = std::vector<Groups>;  // [nodes]

struct SplitProblem {
  std::vector<double> group_load;  // ≥ 0
  int groups_per_node = 1;
  std::vector<int> node_ranks;  // of each node: ranks that have slots
  std::vector<int> node_kind;   // nodes of one kind are interchangeable
  // A lower bound on the largest rank cost of a node that holds exactly these groups.
  std::function<double(int node, const Groups&)> bound;
  // Whether a node carries at least its groups' load, spread over its ranks (true for tokens).
  bool load_is_carried = true;
};

struct SplitResult {
  Split split;
  double bound = 0;   // the largest of the split's node bounds
  double proven = 0;  // no split has a smaller one
};

// Branch and bound from `start`, the heaviest group first, for at most `max_nodes` decisions. A
// part of a split is bounded by each node's load so far plus the lightest groups that can fill it;
// parts that are left unexplored count with that bound in `proven`.
SplitResult best_split(const SplitProblem& problem, Split start, int64_t max_nodes);

}  // namespace wingspan
