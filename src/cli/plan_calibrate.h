// --calibrate: an engine's own step records beside the formulas.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "cli/table.h"
#include "plan/calibrate.h"

namespace wingspan {

struct CalibrateOptions {
  std::string records, scenario;  // files; the latter: what the engine ran when it recorded
};
void add_calibrate_options(CLI::App& command, CalibrateOptions& options);

// Nothing without --calibrate. `asked`: the scenario of the records where no other is given. Errors
// (kInvalidInput) name the file and line.
Expected<std::optional<Calibration>> read_calibration(const CalibrateOptions& options,
                                                      const PlanModel& model, const PlanGpu& gpu,
                                                      const PlanConstants& constants,
                                                      const PlanScenario& asked);

// Factors, and predicted against observed in at most twelve groups of like records a phase.
std::string calibration_text(const Calibration& calibration);
// With every record.
OrderedJson calibration_json(const Calibration& calibration);

}  // namespace wingspan
