// wingspan plan: its subcommands.
#pragma once

#include <string>
#include <vector>

#include "cli/commands.h"
#include "plan/predict.h"

namespace wingspan {

void add_plan_predict(CLI::App& plan, Command& selected);
void add_plan_explain(CLI::App& plan, Command& selected);

// predict --json of the contract; a field that does not apply is null.
OrderedJson json_of_prediction(const PlanScenario& scenario, const Prediction& prediction,
                               const std::vector<std::string>& assumptions);
std::string prediction_text(const PlanModel& model, const PlanGpu& gpu,
                            const PlanScenario& scenario, const Prediction& prediction,
                            const std::vector<std::string>& assumptions);

}  // namespace wingspan
