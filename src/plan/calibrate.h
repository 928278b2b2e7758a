// Learning a factor for one engine from records of its own steps. The formulas know no engine; one
// of last year runs half as fast again or as slow. Off unless a caller asks for it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/predict.h"

namespace wingspan {

// One step as the engine saw it. Rows and tokens are of one GPU: those of a group over its GPUs.
struct StepRecord {
  Phase phase = Phase::kDecode;  // or kPrefill
  double wall_ms = 0;
  double rows = 0;       // query rows: sequences · (1 + drafts), or computed prompt tokens
  double kv_tokens = 0;  // in the cache of the step's sequences after it; prefill: 0 = unknown
};

// Fewer records of a phase than this say nothing of a spread.
inline constexpr int kLeastRecords = 5;

// JSON lines: {"wall_ms": 18.2, "rows": 64, "kv_tokens": 290000} and "phase", decode where left
// out. Errors (kInvalidInput) name the line: another key, a value that can't be, no record, fewer
// than kLeastRecords of a phase, more than 200,000.
Expected<std::vector<StepRecord>> parse_step_records(std::string_view text,
                                                     const std::string& where);

struct FittedRecord {
  StepRecord record;
  double predicted_ms = 0;  // by the formulas alone
  double ratio() const { return record.wall_ms / predicted_ms; }
};

struct Calibration {
  EngineFactor decode, prefill;
  std::vector<FittedRecord> records;
};

// `scenario` is what the engine ran when it recorded: widths, dtypes, MTP, balance. The factor of a
// phase is the median of measured ÷ predicted (the geometric one, so that a stalled step counts no
// more than another); low and high are its 10 % and 90 % quantiles.
Calibration calibrate(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& scenario,
                      const PlanConstants& constants, const std::vector<StepRecord>& records);

// Puts the factors into a scenario and says so. Error (kInvalidInput, naming `where`): no record of
// a phase that the scenario's figures come from.
Status use_calibration(const Calibration& calibration, const std::string& where,
                       PlanScenario& scenario, std::vector<std::string>* assumptions);

// 80 % range of a phase's throughput around the prediction, as log distances down and up: of the
// records where they say it, else of the formulas' record against measurements (`scaleout`: decode
// over more than one scale-up domain).
struct LogRange {
  double down = 0, up = 0;
};
LogRange throughput_range(const PlanConstants& constants, const PlanScenario& scenario,
                          bool scaleout);

// Every part of a step and the lines of `trace` from `first` on times the factor.
StepCost with_engine(StepCost cost, const EngineFactor& engine, Trace* trace, size_t first);

}  // namespace wingspan
