// The assignment problem.
#pragma once

#include <vector>

namespace wingspan {

// For a square matrix [row][column] of gains, the column of each row such that the sum of gains is
// largest. O(n³), Kuhn and Munkres with potentials; deterministic.
std::vector<int> best_assignment(const std::vector<std::vector<int>>& gain);

}  // namespace wingspan
