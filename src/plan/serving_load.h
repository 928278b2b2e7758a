// What a disaggregated deployment carries: users in a closed loop, or an open system at a batch.
#pragma once

#include "plan/predict.h"

namespace wingspan {

struct ServingLoad {
  double requests_per_s = 0;
  double batch_per_gpu = 0;  // of decode
  double itl_s = 0, ttft_s = 0;
  double prefill_tokens_per_s_per_gpu = 0;  // of computed tokens
  double prefill_utilisation = 0;
};

// With `concurrency`: X·(TTFT + osl·itl) = C solved for the decode batch. Without: the batch of the
// scenario or `batch` (> 0), and X = min(prefill capacity, decode rate). `most_batch` limits
// decode.
ServingLoad serving_load(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& scenario,
                         const PlanConstants& constants, double batch, double most_batch);

}  // namespace wingspan
