// What goes into the engine and what comes out: plain data, and the two interfaces by which rank 0
// is driven. Whoever serves requests needs this header of the engine and no other.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace wingspan {

// A draw depends on (seed, position) and on the request's own tokens alone. The rules are applied
// in the order of docs/sampling.md.
struct SamplingParams {
  double temperature = 0;  // 0: greedy, the lowest id wins a tie
  int64_t top_k = 0;       // 0: all
  double top_p = 1;        // 1: all
  double min_p = 0;        // least probability, as a share of the most probable token's; 0: all
  double presence_penalty = 0, frequency_penalty = 0;  // over output tokens; 0: none
  double repetition_penalty = 1;                       // over prompt and output tokens; 1: none
  std::vector<std::pair<int32_t, float>> logit_bias;   // ascending ids, each once
  int64_t min_tokens = 0;  // stop ids cannot be drawn before so many output tokens
  uint64_t seed = 0;       // the request's own
};

struct Request {
  std::vector<int32_t> prompt;  // at least one id
  int64_t max_tokens = 0;       // tokens to generate; 0: only read the prompt
  SamplingParams sampling;
  std::vector<int32_t> stop_ids;  // generation ends after one of these (EOS); empty: ignore
  bool score = false;             // log probabilities of prompt tokens 1 … n − 1 are wanted
  int top_logprobs = 0;  // most probable tokens wanted with each log probability, ≤ kMaxTopLogprobs
  int priority = 0;      // lower runs first; equal ones by arrival
  bool hash_logits = false;  // the chained hash of the logits is wanted (receipts)
};
inline constexpr int kMaxTopLogprobs = 20;

enum class FinishReason {
  kNone,
  kStop,       // a stop id, or whoever drives the engine said so
  kLength,     // max_tokens
  kCancelled,  // by an order
  kNotFinite,  // its logits were not finite; the text of the event says where
};

struct RequestResult {
  std::vector<int32_t> output_ids;     // includes the stop id, if one ended it
  std::vector<float> logprobs;         // of output_ids
  std::vector<float> prompt_logprobs;  // of prompt tokens 1 … n − 1, only with `score`
  uint64_t logits_hash = 0;            // of the rows behind output_ids, chained; with hash_logits
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

// Given by whoever submits; never used twice in the life of an engine's group.
using RequestId = int64_t;

struct Submit {
  RequestId id = 0;
  Request request;
};

// What the next step begins with; decided on rank 0 alone and applied by every rank at the same
// point. A request is checked before it is ordered (check_request, StepLimits).
struct Orders {
  std::vector<Submit> add;
  std::vector<RequestId> cancel;  // unknown ids and ids that ended are ignored
  // Rows of prompts that a rank may read in a step in which sequences decode; 0: no limit, −1: as
  // it is.
  int64_t prompt_rows = -1;
  bool stop = false;  // the step that applies it is the last one; running requests are dropped
  bool empty() const { return add.empty() && cancel.empty() && !stop && prompt_rows < 0; }
};

struct TopLogprob {
  int32_t token = 0;
  float logprob = 0;
};

// One token that a committed step made: of an answer, or with `prompt` one of the prompt, whose log
// probability was wanted.
struct TokenEvent {
  RequestId id = 0;
  bool prompt = false;
  int32_t token = 0;
  int64_t position = 0;  // of the token in its sequence
  float logprob = 0;     // float32(log softmax) of the logits as they are, without sampling rules
  FinishReason finish = FinishReason::kNone;
  std::vector<TopLogprob> top;  // most probable first, the lowest id first among equals
  uint64_t logits_hash = 0;     // with Request::hash_logits
};

// A request that ended without a token of its own: cancelled, only read, or not finite.
struct EndEvent {
  RequestId id = 0;
  FinishReason reason = FinishReason::kNone;
  std::string what;  // with kNotFinite: position, layer and tensor, in words
};

struct StartEvent {
  RequestId id = 0;
  int64_t cached_tokens = 0;  // of the prompt, found in the prefix cache
  int rank = 0;
};

// What one committed step did, the same on every rank but for `times` and `top`, which only rank 0
// has.
struct StepReport {
  int64_t step = 0;
  bool last = false;                // Orders::stop was applied
  std::vector<TokenEvent> tokens;   // ascending positions for each request
  std::vector<EndEvent> ended;      // after its last token, if any
  std::vector<StartEvent> started;  // first rows in this step; again after a preemption
  std::vector<RequestId> preempted;
  int64_t running = 0, waiting = 0;  // after the step
  int64_t prompt_rows = 0, decode_rows = 0;
  std::vector<int64_t> rank_rows;  // by rank
  int64_t kv_blocks_used = 0,
          kv_blocks = 0;  // of the group; cached blocks that nobody uses are free
  int64_t cache_queries = 0, cache_hits = 0;  // tokens looked up and found since the start
  int64_t preemptions = 0;                    // since the start
  int64_t epoch = 0;                          // of the placement
  StepTimes times;                            // of this step, on rank 0
};

// What requests have to fit into; fixed when the engine is made.
struct StepLimits {
  int ranks = 1;
  int max_sequences_per_rank = 0;
  int64_t max_positions = 0;  // of one sequence, prompt and output
  int64_t kv_block = 0, kv_blocks_per_rank = 0;
  int64_t vocab = 0;
};

// Gives rank 0 the orders for its next step. Called by rank 0's thread, once a step.
class OrderSource {
 public:
  virtual ~OrderSource() = default;
  // Appends to `orders`, which is empty. `idle`: nothing runs or waits, so the call may wait for
  // a request, at most a second.
  virtual void next(Orders& orders, bool idle) = 0;
};

}  // namespace wingspan
