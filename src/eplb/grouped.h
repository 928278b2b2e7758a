// Rule 4: which node each group of experts lives on, then a pool per node.
#pragma once

#include <span>
#include <vector>

#include "eplb/pool.h"
#include "placement/placement.h"

namespace wingspan {

// Plans one layer of a grouped topology (Topology::grouped). Where there are few ways to give
// groups to nodes, all are bounded and those that can still win are solved, so the bound is the
// least over all ways; else groups are dealt by load and exchanged, and the bound is that of the
// flat problem, which allows more.
PoolPlan solve_grouped(const Topology& topology, const ShareModel& shares, const Effort& effort);

}  // namespace wingspan
