// Logits -> a token and its log probability. A draw depends on (the request's seed, position)
// alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "kernels/kernels.h"

namespace wingspan {

struct SamplingRule {
  double temperature = 0;  // 0: the largest logit, the lowest id wins a tie
  int64_t top_k = 0;       // 0: all; ties at the edge go to the lowest ids
  double top_p = 1;        // the smallest set of most probable tokens whose sum reaches it
  uint64_t seed = 0;
};

// Errors (kInvalidInput): a temperature or top_p that is negative, not finite, or top_p outside (0,
// 1].
Status check_sampling(const SamplingRule& rule);

// What every use of a row of logits needs; rows are summarised side by side by the rank's threads.
struct LogitSummary {
  LogSumExp sum;
  int32_t best = 0;  // argmax()
};
LogitSummary summarize(const Kernels& kernels, std::span<const float> logits);

class Sampler {
 public:
  explicit Sampler(int64_t vocab);

  // The token that follows position − 1, that is, the one that will stand at `position`.
  int32_t sample(const SamplingRule& rule, std::span<const float> logits,
                 const LogitSummary& summary, int64_t position);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  std::vector<Candidate> candidates_;
};

// float32(log softmax(logits)[token]), of the logits as they are (no temperature).
float log_probability(std::span<const float> logits, const LogSumExp& sum, int32_t token);

int32_t argmax(std::span<const float> logits);  // the lowest id wins a tie

}  // namespace wingspan
