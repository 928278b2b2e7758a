// One model served four ways on one rack: dense, standard expert parallelism, wide, wide and
// balanced. What wide expert parallelism is for, in four predictions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/predict.h"

namespace wingspan {

struct ServingStyle {
  std::string name;   // "dense", "standard EP8", "Wide-EP32", "Wide-EP32 + EPLB"
  std::string means;  // one sentence
  PlanModel model;
  PlanScenario scenario;  // decode; the batch is open
};

struct StyleWidths {
  double standard = 8, wide = 32;
  double redundant = 32;  // slots over the wide group, beyond the experts
};

// `base` gives lengths, dtypes, MTP and overlap. The dense model has as many MLP weights as all
// experts together and reads and multiplies them for each token, split over `standard` GPUs.
std::vector<ServingStyle> serving_styles(const PlanModel& model, const PlanScenario& base,
                                         const StyleWidths& widths);

// The prediction at the largest whole batch per GPU that fits and keeps ITL at or below `itl_ms`;
// none: even one sequence per GPU takes longer. Errors: as predict().
Expected<std::optional<Prediction>> largest_within(const ServingStyle& style, const PlanGpu& gpu,
                                                   const PlanConstants& constants, double itl_ms);

}  // namespace wingspan
