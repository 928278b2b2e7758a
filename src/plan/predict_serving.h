// The search's questions, answered by the formulas of predict.h.
#pragma once

#include <functional>
#include <map>
#include <tuple>

#include "plan/predict.h"
#include "plan/serving.h"

namespace wingspan {

// max ÷ mean rank load for a width and a number of slots, where a recorded load says it.
using ImbalanceOf = std::function<double(int ep, int slots)>;

// Tokens that a step with 1, 2, 3 drafts gains in the mean, as published for DeepSeek-V3 and R1.
std::vector<double> published_acceptance();

class PredictServing : public ServingModel {
 public:
  // `base` has lengths, dtypes, cached_fraction and balancing; all else is overwritten.
  // `accepted`: tokens that a step gains with 1, 2, … drafts.
  PredictServing(PlanModel model, PlanGpu gpu, PlanConstants constants, PlanScenario base,
                 ImbalanceOf imbalance = {}, std::vector<double> accepted = published_acceptance());

  double max_batch_per_gpu(const DecodeShape& shape, bool aggregated) const override;
  StepFigures step(const DecodeShape& shape, double batch_per_gpu, bool aggregated,
                   double context) const override;
  std::vector<StepPart> parts(const DecodeShape& shape, double batch_per_gpu) const override;
  PrefillFigures prefill(const PrefillShape& shape, const DecodeShape& decode) const override;
  PromptTime prompt_time(const DecodeShape& shape) const override;

  // The scenario of a candidate, complete.
  PlanScenario scenario_of(const Candidate& candidate) const;
  // predict() on it, with the figures that both have put into the candidate.
  Expected<Candidate> predicted(Candidate candidate) const;

  int mtp_depths() const { return static_cast<int>(accepted_.size()); }
  const PlanModel& model() const { return model_; }
  const PlanGpu& gpu() const { return gpu_; }

 private:
  PlanScenario group_scenario(const DecodeShape& shape, bool aggregated) const;
  const StepCost& pass(const PlanScenario& scenario, double ep) const;

  PlanModel model_;
  PlanGpu gpu_;
  PlanConstants constants_;
  PlanScenario base_;
  ImbalanceOf imbalance_;
  std::vector<double> accepted_;
  // Prefill passes that were asked for: (prefill ep, overlap, ep, slots, tp), the last three 0
  // where the prefill group is not of the decode group's width.
  mutable std::map<std::tuple<int, int, int, int, int>, StepCost> passes_;
};

}  // namespace wingspan
