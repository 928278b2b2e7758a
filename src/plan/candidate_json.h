// Candidates as JSON, with the scenario that predicts them.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "plan/search.h"

namespace wingspan {

// What all candidates of a search have in common, beside its limits.
struct CandidateContext {
  double isl = 0, osl = 0;
  double usd_gpu_hour = 0;  // 0: not known, costs are null
  // A complete scenario of the planner, from which it predicts the candidate's figures.
  std::function<OrderedJson(const Candidate&)> scenario;
};

OrderedJson candidate_json(const Candidate& candidate, const CandidateContext& context);

// "3:2", in lowest terms of the instances; aggregated: "-".
std::string prefill_to_decode(const Candidate& candidate);

// Dollars for a million output, input, or input and output tokens, all `gpus` paid; 0 without a
// price.
struct TokenCost {
  double output = 0, input = 0, total = 0;
};
TokenCost token_cost(const Candidate& candidate, const CandidateContext& context);

}  // namespace wingspan
