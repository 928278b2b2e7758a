// What reading prompts adds to a step of an aggregated group.
#pragma once

namespace wingspan {

// Seconds per prompt token of one attention rank. All ranks wait for the one that reads most;
// expert products alone are spread over the ranks of the group, whoever reads the prompt.
struct PromptTime {
  double own_s = 0;
  double spread_s = 0;

  // `most`: tokens of the rank that reads most; `mean`: over all ranks.
  double seconds(double most, double mean) const { return most * own_s + mean * spread_s; }
};

}  // namespace wingspan
