// The planner's data and what a user names: models, hardware, scenarios, constants.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/constants.h"
#include "plan/gpu.h"
#include "plan/model.h"
#include "plan/scenario.h"

namespace wingspan {

// A row of data/models.csv (name or an unambiguous part of it), or a path of a config.json or of a
// directory that holds one.
Expected<PlanModel> plan_model(const std::string& name);
// A row of data/hardware.csv, or a path of a JSON file with its columns.
Expected<PlanGpu> plan_gpu(const std::string& name);
const std::vector<TableRow>& hardware_rows();
Expected<std::vector<TableRow>> measurement_rows();
// The built-in ones, or those of a CSV file like data/plan_constants.csv.
Expected<PlanConstants> plan_constants(const std::string& path,
                                       std::vector<ConstantNote>* notes = nullptr);

// Sets the dtypes in which published deployments of such hardware run: "fp4", "fp8", "bf16", or
// "auto", the narrowest that the GPU has units for.
Status use_dtypes(const std::string& name, const PlanModel& model, const PlanGpu& gpu,
                  PlanScenario& s);

struct ScenarioInput {
  PlanScenario scenario;
  std::vector<std::string> assumptions;
};
// "-" reads stdin.
Expected<ScenarioInput> plan_scenario(const std::string& path, const PlanModel& model);

}  // namespace wingspan
