// From expert loads to a placement with replicas and a proven bound. Pure: the same input gives the
// same placement, on every machine.
#pragma once

#include <span>
#include <vector>

#include "eplb/pool.h"
#include "placement/load.h"
#include "placement/placement.h"

namespace wingspan {

// Loads of several layers: [layers][experts], finite and ≥ 0.
using LoadMatrix = std::vector<std::vector<double>>;

struct PlanOptions {
  Objective objective = Objective::kTokens;
  double rows = 1;  // kActivated: (token, expert) rows of one step and layer
  Effort effort;
};

struct LayerPlan {
  std::vector<int> slot_to_expert;
  // Proven on max_rank_load in tokens, whatever the objective.
  double lower_bound = 0;
};

// `topology` is valid and has as many experts as `load`. Rules 1 to 4 hold for the result.
LayerPlan plan_layer(const Topology& topology, std::span<const double> load,
                     const PlanOptions& options);
// Every layer on its own; the work for exact searches is divided among them.
std::vector<LayerPlan> plan_layers(const Topology& topology, const LoadMatrix& load,
                                   const PlanOptions& options);
// Only the bound, of the strength that `effort` asks for: no placement comes below it.
double lower_bound(const Topology& topology, std::span<const double> load, const Effort& effort);

// Cost of each rank under the objective: tokens, or experts read in a step.
std::vector<double> rank_costs(const Topology& topology, std::span<const int> slot_to_expert,
                               const ShareModel& shares);
// The largest of them: what a step waits for.
double largest_cost(const Topology& topology, std::span<const int> slot_to_expert,
                    const ShareModel& shares);

// The figures of a layer in tokens (docs/plan-format.md), with a bound that is known.
LayerReport report_plan(const Topology& topology, std::span<const int> slot_to_expert,
                        std::span<const double> load, double lower_bound);

}  // namespace wingspan
