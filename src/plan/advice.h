// What the search says in words, with the numbers: why this candidate, why not the next, whether
// Wide-EP pays.
#pragma once

#include <string>
#include <vector>

#include "plan/search.h"

namespace wingspan {

// Groups wider than this are Wide-EP: more than a server of eight GPUs.
inline constexpr int kWideEp = 8;

struct Sensitivity {
  std::string change;               // "itl_ms 10 -> 20"
  double tokens_per_s_per_gpu = 0;  // of the best candidate then; 0: none holds
  double effect_percent = 0;        // against the recommended
  std::string text;
};

// "EP32 x 2, 288 slots, 24.1 sequences/GPU, MTP 3, prefill 4 x EP4"
std::string describe(const Candidate& candidate);

// Two sentences: what it reaches and against what; what makes the difference in a step.
std::string reason(const ServingModel& model, const SearchLimits& limits,
                   const Candidate& recommended, const std::vector<Candidate>& by_width);
std::string why_not(const SearchLimits& limits, const Candidate& recommended,
                    const Candidate& runner_up);

// Best of narrow (EP ≤ 8) against best of wide groups, and the parts of a step that decide.
Sensitivity wide_ep_advice(const ServingModel& model, const SearchLimits& limits, int experts,
                           int scaleup_domain, const std::vector<Candidate>& by_width);

// What each latency limit costs: the best candidate with one of them doubled. `found` is the search
// with `limits`.
std::vector<Sensitivity> limit_costs(const ServingModel& model, const SearchSpace& space,
                                     const SearchLimits& limits, const SearchResult& found,
                                     const Candidate& recommended);

}  // namespace wingspan
