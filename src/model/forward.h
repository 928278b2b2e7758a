// One forward pass of one rank: embed, decoder layers (attention at home, experts over the group),
// final norm, head. Composed of an attention kind, a router and MLP kinds; every buffer is sized at
// start.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "ep/exchange.h"
#include "ep/head_exchange.h"
#include "model/group_gemm.h"
#include "model/joint_ops.h"
#include "model/kv_cache.h"
#include "model/mla.h"
#include "model/op_runner.h"
#include "model/step.h"
#include "model/weights.h"
#include "placement/placement.h"

namespace wingspan {

struct ForwardLimits {
  int64_t max_rows = 0;  // tokens of one step of this rank
  int64_t kv_blocks = 0;
  int64_t max_positions = 0;          // longest sequence
  DType expert_dtype = DType::kBF16;  // as kept; the same on all ranks
};

// Nanoseconds by part of the steps so far.
struct ForwardTimes {
  int64_t attention_ns = 0, router_ns = 0, dispatch_ns = 0, group_gemm_ns = 0, combine_ns = 0;
  int64_t shared_ns = 0, head_ns = 0;
};

class ForwardPass {
 public:
  // All referenced objects outlive this one. `exchange` may be null only if the model has no MoE
  // layer; `head` is null in a group of one rank, `joint` where ranks share no memory.
  ForwardPass(const ModelConfig& config, const ModelWeights& weights, const RankExperts& experts,
              const Placement& placement, int rank, Exchange* exchange, HeadExchange* head,
              JointRows* joint, const OpRunner& ops, const ForwardLimits& limits,
              const Clock& clock);

  // Runs the layers of one step. A rank without rows passes an empty one: it still takes part in
  // every exchange. A step may be run again: its rows write the same KV.
  Status run(int64_t step_number, const StepInput& step, StepTap& tap);
  // Afterwards the head, in rounds that every rank makes alike.
  int64_t head_rounds(const StepInput& step) const;
  Expected<HeadRows> head(int64_t step_number, const StepInput& step, int64_t round);

  // By row of the last run(): what was not finite first. Later operations spread it over the row,
  // never to other rows.
  std::span<const RowFault> faults() const { return faults_; }

  const ForwardTimes& times() const { return times_; }

 private:
  void embed(const StepInput& step);
  Status attention(int layer, const StepInput& step);
  Status dense(int layer, int64_t rows);
  Status moe(int64_t step_number, int layer, int moe_index, const StepInput& step, StepTap& tap);
  Status route(const MoeWeights& w, int64_t rows);
  void add(const float* x, int64_t rows);
  // Buffers [rows][width] that led to the present residual stream, in the order of computing.
  struct Source {
    Tensor tensor;
    const float* values;
    int64_t width;
  };
  // Looks whether rows of the residual stream are still finite, and where one that is not began.
  void find_faults(int64_t rows, int layer, std::span<const Source> sources);
  Status head_over_group(int64_t step_number, const Rows& x);
  void summarize_logits(int64_t rows);
  // Adds the time since the last call to `part`.
  void lap(int64_t& part);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  const RankExperts& experts_;
  Exchange* exchange_;
  HeadExchange* head_exchange_;
  int64_t head_rows_;  // of a round
  const OpRunner& ops_;
  const Clock& clock_;
  ForwardLimits limits_;
  std::vector<SlotMap> maps_;  // by MoE layer
  KvCache cache_;
  RopeTable rope_;
  JointOps joint_;
  MlaAttention mla_;
  std::unique_ptr<GroupGemm> group_gemm_;
  Buffer hidden_, normed_, branch_, packed_, act_, packed_act_, logits_, head_part_;
  Buffer router_logits_, router_scratch_, expert_ids_, expert_weights_, combined_;
  std::vector<LogitSummary> summaries_;  // of the logits at hand
  std::vector<RowFault> faults_;
  ForwardTimes times_;
  int64_t mark_ns_ = 0;
};

}  // namespace wingspan
