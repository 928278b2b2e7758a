// What goes into the engine and what comes out: plain data, no code.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wingspan {

struct SamplingParams {
  double temperature = 0;  // 0: greedy, the lowest id wins a tie
  int64_t top_k = 0;       // 0: all
  double top_p = 1;        // 1: all
  uint64_t seed = 0;       // the request's own; a draw depends on (seed, position) alone
};

struct Request {
  std::vector<int32_t> prompt;  // at least one id
  int64_t max_tokens = 0;       // tokens to generate; 0 with `score`: only read the prompt
  SamplingParams sampling;
  std::vector<int32_t> stop_ids;  // generation ends after one of these (EOS); empty: ignore
  bool score = false;             // log probabilities of prompt tokens 1 … n − 1 are wanted
};

enum class FinishReason { kNone, kStop, kLength };

struct RequestResult {
  std::vector<int32_t> output_ids;     // includes the stop id, if one ended it
  std::vector<float> logprobs;         // of output_ids
  std::vector<float> prompt_logprobs;  // of prompt tokens 1 … n − 1, only with `score`
  FinishReason finish = FinishReason::kNone;
};

// Nanoseconds by part, summed over the steps and layers of one rank.
struct StepTimes {
  int64_t steps = 0, rows = 0;
  int64_t attention_ns = 0, router_ns = 0, dispatch_ns = 0, group_gemm_ns = 0, combine_ns = 0;
  int64_t shared_ns = 0;  // shared experts and dense MLPs
  int64_t head_ns = 0;    // final norm, head, sampling
  int64_t commit_ns = 0;  // waiting for the other ranks at the end of a step
  int64_t total_ns = 0;
};

}  // namespace wingspan
