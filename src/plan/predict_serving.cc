#include "plan/predict_serving.h"

#include <algorithm>
#include <cmath>

namespace wingspan {
namespace {

PlanOverlap plan_overlap(StepOverlap overlap) {
  switch (overlap) {
    case StepOverlap::kSingleBatch:
      return PlanOverlap::kSingleBatch;
    case StepOverlap::kTwoBatch:
      return PlanOverlap::kTwoBatch;
    case StepOverlap::kNone:
      break;
  }
  return PlanOverlap::kNone;
}

}  // namespace

std::vector<double> published_acceptance() { return {1.8, 2.4, 2.9}; }

PredictServing::PredictServing(PlanModel model, PlanGpu gpu, PlanConstants constants,
                               PlanScenario base, ImbalanceOf imbalance,
                               std::vector<double> accepted)
    : model_(std::move(model)),
      gpu_(std::move(gpu)),
      constants_(constants),
      base_(base),
      imbalance_(std::move(imbalance)),
      accepted_(std::move(accepted)) {}

PlanScenario PredictServing::group_scenario(const DecodeShape& shape, bool aggregated) const {
  PlanScenario s = base_;
  s.phase = aggregated ? Phase::kAggregated : Phase::kDecode;
  s.gpus = s.ep = shape.ep;
  s.attention_tp = shape.attention_tp;
  s.attention_dp = shape.attention_ranks();
  s.slots = shape.slots;
  s.mtp_k = shape.mtp_depth;
  s.accepted_per_step =
      shape.mtp_depth > 0 ? accepted_.at(static_cast<size_t>(shape.mtp_depth) - 1) : 1;
  s.overlap = plan_overlap(shape.overlap);
  s.prefill_wait_steps = shape.prefill_wait_steps;
  if (imbalance_) {
    s.balancing = Balancing::kGiven;
    s.imbalance = imbalance_(shape.ep, shape.slots);
  }
  return s;
}

double PredictServing::max_batch_per_gpu(const DecodeShape& shape, bool aggregated) const {
  if (shape.ep > gpu_.scaleup_domain && gpu_.scaleout_bytes_per_s <= 0) return 0;
  const PlanScenario s = group_scenario(shape, aggregated);
  const PlanMemory memory = plan_memory(model_, gpu_, s, constants_, s.ep, s.slots);
  return memory.fits ? memory.max_batch_per_gpu : 0;
}

StepFigures PredictServing::step(const DecodeShape& shape, double batch, bool aggregated,
                                 double context) const {
  const PlanScenario s = group_scenario(shape, aggregated);
  const double seen = context > 0 ? context : s.mean_context();
  StepCost cost = decode_step(model_, gpu_, s, constants_, batch, seen);
  StepFigures f;
  f.step_ms = cost.step_ms;
  f.accepted_per_step = s.accepted_per_step;
  double stall_ms = 0;
  if (aggregated) stall_ms = prompt_stall(prompt_time(shape), s, batch).ms;
  f.itl_ms = (cost.step_ms + stall_ms) / s.accepted_per_step;
  f.bound_by = name_of(cost.bound);
  return f;
}

std::vector<StepPart> PredictServing::parts(const DecodeShape& shape, double batch) const {
  const PlanScenario s = group_scenario(shape, false);
  const StepCost cost = decode_step(model_, gpu_, s, constants_, batch, s.mean_context());
  // What is hidden behind other parts is taken off the exchange, behind which it hides.
  double hidden = -cost.of(StepTerm::kHidden);
  std::vector<StepPart> out;
  for (size_t i = 0; i < kStepTerms; ++i) {
    const auto term = static_cast<StepTerm>(i);
    double ms = cost.of(term);
    if (term == StepTerm::kHidden) continue;
    if (term == StepTerm::kDispatch || term == StepTerm::kCombine) {
      const double share = std::min(hidden, ms);
      ms -= share;
      hidden -= share;
    }
    if (ms > 0) out.push_back({name_of(term), ms});
  }
  return out;
}

const StepCost& PredictServing::pass(const PlanScenario& s, double ep) const {
  const bool same = ep == s.ep;
  const auto key = std::tuple(static_cast<int>(ep), static_cast<int>(s.overlap),
                              same ? static_cast<int>(s.ep) : 0,
                              same || imbalance_ ? static_cast<int>(s.slots) : 0,
                              same ? static_cast<int>(s.attention_tp) : 0);
  const auto [at, fresh] = passes_.try_emplace(key);
  if (fresh) at->second = prefill_pass(model_, gpu_, s, constants_, ep);
  return at->second;
}

PrefillFigures PredictServing::prefill(const PrefillShape& shape, const DecodeShape& decode) const {
  const PlanScenario s = group_scenario(decode, false);
  PrefillFigures f;
  if (shape.ep > gpu_.scaleup_domain && gpu_.scaleout_bytes_per_s <= 0) return f;
  const double slots = shape.ep == decode.ep ? s.slots : model_.experts;
  f.fits = plan_memory(model_, gpu_, s, constants_, shape.ep, slots).fits;
  if (!f.fits) return f;
  f.lanes = shape.ep;
  f.tokens_per_s = shape.ep * s.tokens_per_gpu / pass(s, shape.ep).step_ms * 1e3;
  const double kv = s.isl * model_.layers * model_.kv_elements() * dtype_bytes(s.kv);
  const bool outside = base_.gpus > gpu_.scaleup_domain && gpu_.scaleout_bytes_per_s > 0;
  f.handoff_ms = kv / (outside ? gpu_.scaleout_bytes_per_s : gpu_.scaleup_bytes_per_s) * 1e3;
  return f;
}

PromptTime PredictServing::prompt_time(const DecodeShape& shape) const {
  const PlanScenario s = group_scenario(shape, true);
  return wingspan::prompt_time(pass(s, s.ep), s);
}

PlanScenario PredictServing::scenario_of(const Candidate& c) const {
  PlanScenario s = group_scenario(c.decode, c.aggregated);
  s.gpus = c.gpus;
  s.batch_per_gpu = c.batch_per_gpu;
  if (c.aggregated) return s;
  s.phase = Phase::kDisaggregated;
  s.prefill_gpus = c.prefill_instances * c.prefill.ep;
  s.decode_gpus = c.decode_instances * c.decode.ep;
  s.prefill_ep = c.prefill.ep;
  return s;
}

Expected<Candidate> PredictServing::predicted(Candidate c) const {
  WS_ASSIGN(const Prediction p, predict(model_, gpu_, scenario_of(c), constants_));
  // The prediction gives better means; the whole distribution moves with its mean.
  const auto move_to = [](Quantiles& q, double mean) {
    const double shift = mean - q.mean;
    for (double* value : {&q.mean, &q.p50, &q.p95, &q.p99, &q.at_percentile}) {
      *value = std::max(0.0, *value + shift);
    }
  };
  move_to(c.itl_ms, p.itl_ms);
  if (p.ttft_ms > 0) move_to(c.ttft_ms, p.ttft_ms);
  c.requests_per_s = p.requests_per_s;
  c.tokens_per_s_per_gpu = p.tokens_per_s_per_gpu;
  c.tokens_per_s_per_user = 1e3 / p.itl_ms;
  c.bound_by = name_of(p.step.bound);
  return c;
}

}  // namespace wingspan
