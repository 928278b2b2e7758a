// What the search asks of the formulas, and what it makes of the answers: shapes of decode groups
// and prefill instances, figures of one of them, and candidates composed of several.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/prompt_time.h"

namespace wingspan {

enum class StepOverlap { kNone, kSingleBatch, kTwoBatch };

// One decode (or aggregated) group: `ep` GPUs, attention over data-parallel ranks of `attention_tp`
// GPUs each.
struct DecodeShape {
  int ep = 1;
  int attention_tp = 1;  // divides ep
  int slots = 1;         // over the group and per layer
  int mtp_depth = 0;     // drafted tokens per step
  StepOverlap overlap = StepOverlap::kNone;
  int prefill_wait_steps = 1;  // aggregated only
  int attention_ranks() const { return ep / attention_tp; }
  bool operator==(const DecodeShape&) const = default;
};

struct PrefillShape {
  int ep = 1;
  bool operator==(const PrefillShape&) const = default;
};

struct StepFigures {
  double step_ms = 0;  // without the stalls of prefill
  double itl_ms = 0;   // mean; aggregated: with the stalls
  double accepted_per_step = 1;
  std::string bound_by;
};

struct StepPart {
  std::string name;  // of predict's breakdown
  double ms = 0;
};

struct PrefillFigures {
  bool fits = false;
  double tokens_per_s = 0;  // computed prompt tokens, of the whole instance
  // An instance serves that many prompts at a time; one takes lanes · isl / tokens_per_s.
  int lanes = 1;
  double handoff_ms = 0;  // KV cache of a mean prompt to the decode group
};

// The planner's formulas for one model, hardware and workload. Pure: the same question gives the
// same answer.
class ServingModel {
 public:
  virtual ~ServingModel() = default;
  // Live sequences per GPU that fit beside the weights at full length; ≤ 0: the weights do not fit.
  virtual double max_batch_per_gpu(const DecodeShape& shape, bool aggregated) const = 0;
  // Mean context: the workload's isl + osl/2, or `context` where it is > 0.
  virtual StepFigures step(const DecodeShape& shape, double batch_per_gpu, bool aggregated,
                           double context = 0) const = 0;
  // The parts of a step that take time (what overlap hides is left out of them).
  virtual std::vector<StepPart> parts(const DecodeShape& shape, double batch_per_gpu) const = 0;
  // Beside decode groups of that shape: a deployment has one mode of overlap.
  virtual PrefillFigures prefill(const PrefillShape& shape, const DecodeShape& decode) const = 0;
  // Of an aggregated group.
  virtual PromptTime prompt_time(const DecodeShape& shape) const = 0;
};

struct Quantiles {
  double mean = 0, p50 = 0, p95 = 0, p99 = 0;
  double at_percentile = 0;  // at the percentile that the search was asked for
};

struct Candidate {
  bool aggregated = false;
  DecodeShape decode;
  int decode_instances = 1;
  double batch_per_gpu = 1;
  PrefillShape prefill;
  int prefill_instances = 0;  // 0: aggregated
  int gpus = 0;               // that are paid, the idle ones too
  int idle_gpus = 0;
  double requests_per_s = 0;
  double tokens_per_s_per_user = 0;  // 1000 ÷ mean ITL
  double tokens_per_s_per_gpu = 0;   // output tokens over all `gpus`
  double step_ms = 0, accepted_per_step = 1, prefill_utilisation = 0;
  Quantiles ttft_ms, itl_ms;
  std::string bound_by;
  int used_gpus() const { return gpus - idle_gpus; }
};

}  // namespace wingspan
