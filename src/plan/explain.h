// What lies behind a prediction: its parts by size, its figures as formulas, and what would change
// it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/predict.h"

namespace wingspan {

// A figure that is not a part of the step: its formula, the numbers put in, its value.
struct FigureLine {
  std::string figure, formula, numbers, value;
};

struct ExplainedPart {
  StepTerm term;
  double ms = 0;
  std::vector<TraceLine> lines;  // their us times `times` sum to ms
};

// One change to the question and what it does to tokens/s/GPU.
struct WhatIf {
  std::string change;
  std::optional<Prediction> prediction;
  double effect = 0;    // relative; 0 without a prediction
  std::string refusal;  // why there is no prediction
};

struct Explanation {
  Prediction prediction;
  std::vector<ExplainedPart> parts;  // largest first, without those of 0 ms
  std::vector<FigureLine> figures;
  std::vector<WhatIf> what_if;
};

// Errors: those of predict().
Expected<Explanation> explain(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
                              const PlanConstants& constants);
// Batch, EP and links doubled, perfect balance, the next dtype, and what the GPU itself has.
std::vector<WhatIf> what_if(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
                            const PlanConstants& constants, const Prediction& now);

}  // namespace wingspan
