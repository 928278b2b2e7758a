// The planner's prediction: formulas over one model, GPU and scenario. Pure, and
// without text in the hot path, so that a search may call it 10⁵ times.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/status.h"
#include "plan/constants.h"
#include "plan/gpu.h"
#include "plan/model.h"
#include "plan/prompt_time.h"
#include "plan/scenario.h"

namespace wingspan {

// Parts of a step, in ms of the slowest rank. They sum to the step.
enum class StepTerm {
  kAttention,
  kExperts,
  kShared,
  kDispatch,
  kCombine,
  kDenseLayers,
  kHead,
  kOther,
  kHost,
  kDraft,
  kBubbles,
  kHidden
};
inline constexpr size_t kStepTerms = 12;
const char* name_of(StepTerm term);

enum class Bound { kWeights, kFlops, kKv, kNetwork, kLatency };
inline constexpr size_t kBounds = 5;
const char* name_of(Bound bound);

struct PlanMemory {
  double experts_bytes = 0, attention_bytes = 0, other_weights_bytes = 0, buffers_bytes = 0;
  double kv_bytes_free = 0;       // of the usable memory; may be negative
  double kv_bytes_per_token = 0;  // all layers, as one GPU stores it
  double max_batch_per_gpu = 0;   // at full length isl + osl
  bool fits = false;  // weights, buffers and one sequence of full length; prefill: prefill_fits()
  double weights() const { return experts_bytes + attention_bytes + other_weights_bytes; }
};

// One line of explain: a part of the step, its formula, the numbers put in.
struct TraceLine {
  StepTerm term;
  std::string formula, numbers;
  double us = 0;     // of one layer or once per step
  double times = 1;  // how often in a step
  std::vector<std::string> constants;
};
using Trace = std::vector<TraceLine>;

// One pass over the layers: a decode step or a prefill chunk.
struct StepCost {
  std::array<double, kStepTerms> ms{};
  std::array<double, kBounds> bound_ms{};  // where the time goes, for `bound`
  double step_ms = 0;
  double experts_seen_ms =
      0;  // prefill: by which it is longer than if expert products took no time
  double imbalance = 1;
  Bound bound = Bound::kLatency;
  double of(StepTerm term) const { return ms[static_cast<size_t>(term)]; }
};

struct Prediction {
  StepCost step;
  double itl_ms = 0, ttft_ms = 0;  // 0: does not apply
  double batch_per_gpu = 0;
  bool batch_from_memory = false;
  double tokens_per_s_per_gpu = 0, total_tokens_per_s_per_gpu = 0;  // over all `gpus`
  double requests_per_s = 0;
  double usd_per_million_output_tokens = 0;  // 0: no price or no output
  PlanMemory memory, prefill_memory;         // the latter: disaggregated
  double prefill_tokens_per_s_per_gpu = 0;   // aggregated, disaggregated: of computed tokens
  double prefill_utilisation = 0;            // disaggregated: share of the prefill capacity in use
  double idle_gpus = 0;
  double interval_low = 0, interval_high = 0;  // 80 % of tokens_per_s_per_gpu
};

// All of it. Errors: kFailed where the weights do not fit (or a batch that no memory could hold).
Expected<Prediction> predict(const PlanModel& model, const PlanGpu& gpu,
                             const PlanScenario& scenario, const PlanConstants& constants,
                             Trace* trace = nullptr);

// The building blocks, for searches. One decode step of `batch` sequences per GPU at `context` mean
// tokens (scenario's widths, dtypes, MTP, overlap).
StepCost decode_step(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& scenario,
                     const PlanConstants& constants, double batch, double context,
                     Trace* trace = nullptr);
// One prefill pass of tokens_per_gpu computed tokens per GPU over `ep` GPUs; tokens/s/GPU is
// 1000 · tokens_per_gpu ÷ step_ms.
StepCost prefill_pass(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& scenario,
                      const PlanConstants& constants, double ep, Trace* trace = nullptr);
// Its time per prompt token of an attention rank of scenario.attention_tp GPUs.
PromptTime prompt_time(const StepCost& prefill_pass, const PlanScenario& scenario);
// What new prompts add to a step of an aggregated group.
struct PromptStall {
  double starts = 0;  // prompts of one attention rank, mean
  double most = 0;    // of the rank with most
  double tokens = 0;  // of a prompt that are computed
  double ms = 0;
};
PromptStall prompt_stall(const PromptTime& time, const PlanScenario& scenario,
                         double batch_per_gpu);
// Usable bytes that `weights` bytes and the buffers leave for the KV cache; may be negative.
double kv_bytes_beside(const PlanGpu& gpu, const PlanConstants& constants, double weights);
// Prefill keeps no cache for long, so its weights may fill the GPU, and by our count a tenth more:
// published runs hold that much, with parts in a narrower dtype than the scenario can say.
bool prefill_fits(const PlanGpu& gpu, const PlanMemory& memory);
// Memory of a GPU in a group of `ep` GPUs with `slots` slots.
PlanMemory plan_memory(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& scenario,
                       const PlanConstants& constants, double ep, double slots);
// max ÷ mean rank load of one step with `rows` expert rows per rank.
double rank_imbalance(const PlanModel& model, const PlanScenario& scenario,
                      const PlanConstants& constants, double ep, double slots, double rows);
// Seconds of one dispatch or combine: `rows` rows of `bytes` each per rank over `ep` ranks. In
// bulk, the bytes between domains count `between` times.
double exchange_s(const PlanModel& model, const PlanGpu& gpu, const PlanConstants& constants,
                  double ep, double rows, double bytes, double fixed_s, bool bulk,
                  double between = 1);
// Every choice behind the prediction in words, after those of parse_scenario.
void add_assumptions(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& scenario,
                     const PlanConstants& constants, const Prediction& prediction,
                     std::vector<std::string>* out);

}  // namespace wingspan
