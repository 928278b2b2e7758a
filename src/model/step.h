// One step of one rank as the forward pass sees it: rows of tokens, each with its place in a
// sequence.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "model/sampler.h"

namespace wingspan {

struct StepSequence {
  const int32_t* blocks = nullptr;  // KV blocks by position / 64, all that this step's rows need
  int64_t first_position = 0;       // of its first row in this step
  int64_t first_row = 0;            // its rows are neighbours
  int64_t rows = 0;
};

// Rows of logits of a rank in one round of the head (ep/head_exchange.h): the more, the less often
// its weights are read; the group's rows together bound the memory. Never changes a bit.
inline int64_t head_rows(int ranks) { return std::clamp<int64_t>(256 / ranks, 1, 64); }

struct StepInput {
  std::span<const int32_t> tokens;          // [rows]
  std::span<const StepSequence> sequences;  // cover all rows, in order
  std::span<const int64_t> logit_rows;      // rows whose logits are wanted, ascending
  int64_t head_rounds = 0;             // of the group: enough for the rank with most logit rows
  int64_t first_token_index = 0;       // spreads replica choice; never changes a bit
  std::span<const int64_t> rank_rows;  // of all ranks in this step
};

// Receives what a step computes on the way. Called on the rank's own thread.
class StepTap {
 public:
  virtual ~StepTap() = default;
  // After a decoder layer: [rows][hidden]; only if wants_layers().
  virtual bool wants_layers() const { return false; }
  virtual void on_layer(int /*layer*/, const float* /*hidden*/) {}
  // The m-th MoE layer's choices: experts, weights [rows][top_k]; logits [rows][experts].
  virtual void on_routing(int /*moe_index*/, int64_t /*rows*/, const int32_t* /*experts*/,
                          const float* /*weights*/, const float* /*logits*/) {}
};

// The first operation whose output was not finite in a row, if any.
enum class Tensor : int32_t {
  kNone,
  kEmbedding,
  kInputNorm,
  kAttention,
  kMlpNorm,
  kRouterLogits,
  kExperts,
  kSharedExpert,
  kDenseMlp,
  kResidual,  // a sum of finite addends
  kLogits,
};
const char* tensor_name(Tensor tensor);  // "attention output", …
struct RowFault {
  Tensor tensor = Tensor::kNone;
  int32_t layer = -1;  // −1: outside the layers
};

// Logits of logit_rows[first] and the rows behind it, valid until the next round of the head.
struct HeadRows {
  int64_t first = 0, rows = 0;
  int64_t vocab = 0;
  const float* logits = nullptr;  // [rows][vocab]
  std::span<const LogitSummary> summaries;
  std::span<const float> row(int64_t i) const {
    return {logits + i * vocab, static_cast<size_t>(vocab)};
  }
};

}  // namespace wingspan
