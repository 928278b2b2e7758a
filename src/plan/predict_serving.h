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

class PredictServing : public ServingModel {
 public:
  // `base` has lengths, dtypes, cached_fraction and balancing; all else is overwritten.
  PredictServing(PlanModel model, PlanGpu gpu, PlanConstants constants, PlanScenario base,
                 ImbalanceOf imbalance = {});

  double max_batch_per_gpu(const DecodeShape& shape, bool aggregated) const override;
  StepFigures step(const DecodeShape& shape, double batch_per_gpu, bool aggregated,
                   double context) const override;
  std::vector<StepPart> parts(const DecodeShape& shape, double batch_per_gpu) const override;
  PrefillFigures prefill(const PrefillShape& shape, const DecodeShape& decode) const override;
  double prompt_token_s(const DecodeShape& shape) const override;

  // The scenario of a candidate, complete.
  PlanScenario scenario_of(const Candidate& candidate) const;
  // predict() on it, with the figures that both have put into the candidate.
  Expected<Candidate> predicted(Candidate candidate) const;

  const PlanModel& model() const { return model_; }
  const PlanGpu& gpu() const { return gpu_; }

 private:
  PlanScenario group_scenario(const DecodeShape& shape, bool aggregated) const;
  double pass_tokens_per_s_per_gpu(const PlanScenario& scenario, double ep) const;

  PlanModel model_;
  PlanGpu gpu_;
  PlanConstants constants_;
  PlanScenario base_;
  ImbalanceOf imbalance_;
  // Prefill rates that were asked for: (prefill ep, overlap, ep, slots, tp), the last three 0 where
  // the prefill group is not of the decode group's width.
  mutable std::map<std::tuple<int, int, int, int, int>, double> rates_;
};

// Tokens that one step of MTP depth k gains in the mean, as published for DeepSeek-V3 and R1.
double assumed_acceptance(int depth);

}  // namespace wingspan
