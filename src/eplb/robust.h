// One placement for several windows.
#pragma once

#include <vector>

#include "eplb/plan.h"

namespace wingspan {

// Lowers the mean over windows of the largest rank cost, starting from `start` (a plan for the
// sum): at each step the exchange or the further replica, at a rank that is the busiest in some
// window, that lowers it most. `windows` is [windows][experts]. Windows beyond 32 are summed into
// that many neighbours.
std::vector<int> robust_layer(const Topology& topology, const LoadMatrix& windows,
                              const std::vector<int>& start, const PlanOptions& options);

// Mean over windows of the largest rank cost.
double mean_largest_cost(const Topology& topology, const LoadMatrix& windows,
                         const std::vector<int>& slot_to_expert, const PlanOptions& options);

}  // namespace wingspan
