// The question put to the planner: phases, widths, lengths, dtypes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "plan/engine_factor.h"
#include "plan/model.h"

namespace wingspan {

enum class Phase { kDecode, kPrefill, kAggregated, kDisaggregated };
enum class PlanDType { kBf16, kFp8, kNvfp4, kMxfp4, kInt8 };
enum class PlanOverlap { kNone, kSingleBatch, kTwoBatch };
enum class Balancing { kNone, kUntuned, kStatic, kOnline, kPerfect, kGiven };

struct PlanScenario {
  Phase phase = Phase::kDecode;
  double gpus = 1;  // all that are paid; may exceed what the groups use
  double ep = 1, attention_dp = 1, attention_tp = 1;
  double slots = 0;                     // per layer over the group
  std::optional<double> batch_per_gpu;  // live sequences; absent: the most that fits
  double tokens_per_gpu = 16384;        // of one prefill pass
  std::optional<double> concurrency;    // disaggregated, closed loop
  double isl = 1, osl = 1, cached_fraction = 0;
  PlanDType experts = PlanDType::kFp8, attention = PlanDType::kFp8, kv = PlanDType::kBf16,
            dispatch = PlanDType::kFp8, combine = PlanDType::kBf16;
  std::optional<PlanDType> attention_math;
  double mtp_k = 0, accepted_per_step = 1;
  PlanOverlap overlap = PlanOverlap::kNone;
  Balancing balancing = Balancing::kStatic;
  double imbalance = 1;  // with kGiven: max ÷ mean rank load
  double prefill_gpus = 0, decode_gpus = 0, prefill_ep = 0;
  double prefill_wait_steps = 1;
  EngineFactor engine_decode, engine_prefill;  // learned from records, never from the scenario file

  // GPUs of one group: wider than ep where attention TP is, and an expert is then split.
  double group() const {
    return attention_dp * attention_tp > ep ? attention_dp * attention_tp : ep;
  }
  double mean_context() const { return isl + osl / 2; }
};

double dtype_bytes(PlanDType dtype);     // of one element, scales included
double exchange_bytes(PlanDType dtype);  // of one element on the wire, scales included
const char* name_of(Phase phase);
const char* name_of(PlanDType dtype);
const char* name_of(PlanOverlap overlap);
const char* name_of(Balancing balancing);

// Checks ranges and fills what is left out; `assumptions` (may be null) gets each default in words.
// Errors (kInvalidInput): unknown keys, impossible values, ep > gpus, slots < experts.
Expected<PlanScenario> parse_scenario(const Json& json, const std::string& where,
                                      const PlanModel& model,
                                      std::vector<std::string>* assumptions);
// For scenarios made in code: the same checks of ranges and of widths against each other.
Status validate_scenario(const PlanScenario& scenario, const PlanModel& model,
                         const std::string& where);
OrderedJson json_of_scenario(const PlanScenario& scenario);

}  // namespace wingspan
