// Logits -> a token and its log probability. A draw is a function of (the request's own tokens, its
// seed, the position) and the logits: never of the batch.
//
// The order of the rules (docs/sampling.md): forbidden ids, bias, repetition penalty, frequency and
// presence penalties, temperature, top-k, top-p, min-p. A rule at its neutral value changes no bit.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "kernels/kernels.h"

namespace wingspan {

struct SamplingRule {
  double temperature = 0;  // 0: the largest logit, the lowest id wins a tie
  int64_t top_k = 0;       // 0: all; ties at the edge go to the lowest ids
  double top_p = 1;        // the smallest set of most probable tokens whose sum reaches it
  double min_p = 0;        // tokens at least as probable as this share of the most probable one
  double presence_penalty = 0;   // taken from the logit of a token that is in the output
  double frequency_penalty = 0;  // taken once for each time that it is there
  // Divides a positive logit of a token in prompt or output, multiplies a negative one.
  double repetition_penalty = 1;
  std::span<const std::pair<int32_t, float>> logit_bias;  // added to the logits of these ids
  std::span<const int32_t> forbidden;                     // never drawn
  uint64_t seed = 0;
};

// Errors (kInvalidInput), naming the field: a number that is not finite or outside its range.
Status check_sampling(const SamplingRule& rule);

// The request's own tokens before the one that is drawn.
struct TokenHistory {
  std::span<const int32_t> prompt, output;
};

// What every use of a row of logits needs; rows are summarised side by side by the rank's threads.
struct LogitSummary {
  LogSumExp sum;
  int32_t best = 0;    // argmax()
  bool finite = true;  // all of them
};
LogitSummary summarize(const Kernels& kernels, std::span<const float> logits);

// Scratch of one thread; sized once.
class Sampler {
 public:
  explicit Sampler(int64_t vocab);

  // The token that follows position − 1, that is, the one that will stand at `position`.
  int32_t sample(const SamplingRule& rule, const TokenHistory& history,
                 std::span<const float> logits, const LogitSummary& summary, int64_t position);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  std::span<const float> adjust(const SamplingRule& rule, const TokenHistory& history,
                                std::span<const float> logits);
  void penalise(const SamplingRule& rule, const TokenHistory& history);
  int32_t draw(const SamplingRule& rule, std::span<const float> logits, int64_t position);

  std::vector<Candidate> candidates_;
  std::vector<float> adjusted_;
  std::vector<int32_t> counts_;  // of each id in the history at hand; zero between calls
};

// float32(log softmax(logits)[token]), of the logits as they are (no rule applied).
float log_probability(std::span<const float> logits, const LogSumExp& sum, int32_t token);

// The `count` largest logits, largest first, the lowest id first among equals.
void top_tokens(std::span<const float> logits, int count, std::vector<int32_t>& out);

int32_t argmax(std::span<const float> logits);  // the lowest id wins a tie

// Of the bytes of a row of logits.
uint64_t hash_logits(std::span<const float> logits);

}  // namespace wingspan
