// How to get from one placement of a layer to another: relabelled so that few slots change, then
// in an order in which every source is alive.
#pragma once

#include <span>
#include <vector>

#include "placement/placement.h"

namespace wingspan {

// `target` with its ranks (grouped: its nodes, too) and the slots within them exchanged so that as
// few slots as possible differ from `current`. Only ranks of equal size, and nodes whose ranks have
// equal sizes, change places; the rank loads stay the same up to that. Both obey the topology.
// Exact: an assignment problem, O(ranks³).
std::vector<int> relabel(const Topology& topology, std::span<const int> current,
                         std::span<const int> target);

// Slots whose expert differs.
int count_moves(std::span<const int> from, std::span<const int> to);

struct Move {
  int slot = 0, expert = 0;
  int source_rank = -1;  // holds the expert when the move's turn comes
  int batch = -1;  // moves with the same number ≥ 0 read all their sources before any writes
};

// One move for each slot that differs, in an order such that, when a move's turn comes, its source
// rank holds the expert, and after every move (or batch) each expert still has a slot. Where slots
// exchange experts that have no other replica, the cycle becomes one batch. Sources are, in this
// order, the same rank, the same node, the rank that has sent least so far.
std::vector<Move> order_moves(const Topology& topology, std::span<const int> from,
                              std::span<const int> to, int first_batch);

}  // namespace wingspan
