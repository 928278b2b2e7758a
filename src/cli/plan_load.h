// A recorded load in place of an assumed state of balance.
#pragma once

#include <string>

#include "eplb/plan.h"
#include "plan/model.h"
#include "plan/scenario.h"

namespace wingspan {

// The load of all windows of a wingspan-load file. Errors (kInvalidInput) name the file:
// unreadable, another number of experts than the model's, no layers.
Expected<LoadMatrix> recorded_load(const std::string& path, const PlanModel& model);
// Mean over layers of max ÷ mean rank load that the balancer reaches; 1 on one rank.
double placed_imbalance(const LoadMatrix& load, int ranks, int slots);

// The balancer places the load of `path` (a wingspan-load file) on the scenario's ranks and slots;
// what it reaches, the mean over layers of max ÷ mean rank load, becomes the scenario's imbalance.
// Says so in `assumptions`. Errors (kInvalidInput) name the file: unreadable, another number of
// experts, no load; or a scenario without experts.
Status use_recorded_load(const std::string& path, const PlanModel& model, PlanScenario& scenario,
                         std::vector<std::string>& assumptions);

}  // namespace wingspan
