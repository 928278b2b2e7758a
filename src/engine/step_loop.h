// The step of one rank and the state between steps, which is the same on every rank.
//
// A step: apply orders -> plan (the same on all ranks) -> forward of this rank's rows -> sampling
// -> commit (every rank learns every token and the next orders). Nothing outside the step changes
// before the commit, so a step may be computed again. docs/step.md is the contract.
#pragma once

#include <memory>
#include <vector>

#include "engine/capture.h"
#include "engine/load_recorder.h"
#include "engine/order_stream.h"
#include "engine/rank_engine.h"
#include "engine/wire.h"
#include "model/step.h"
#include "sched/scheduler.h"

namespace wingspan {

class StepLoop final : public StepRunner, public StepTap {
 public:
  // Collective: may open a channel.
  static Expected<std::unique_ptr<StepLoop>> create(RankEngine& engine, const RunOptions& options,
                                                    RunSink& sink);
  Expected<const StepReport*> step(OrderSource* source) override;
  const Load& load() const override { return loads_.load(); }

  // StepTap
  bool wants_layers() const override { return options_.capture.hidden; }
  void on_layer(int layer, const float* hidden) override;
  void on_routing(int moe_index, int64_t rows, const int32_t* experts, const float* weights,
                  const float* logits) override;

 private:
  // A row of this rank's step.
  struct RowOrigin {
    int64_t id;
    int64_t position;
  };
  // One whose logits are wanted.
  struct LogitRow {
    int slot;
    int64_t position;
    bool emits;
  };
  // Everything that a step computes and the commit sends.
  struct Outcome {
    std::vector<CommitEntry> entries;
    std::vector<std::vector<TopLogprob>> tops;  // by entry
    void clear() { entries.clear(); }
  };

  StepLoop(RankEngine& engine, const RunOptions& options, RunSink& sink, Channel* capture_channel);

  Status run_step(OrderSource* source);
  void apply_orders();
  void add(Submit&& submit);
  void cancel(RequestId id, std::string what);
  Status last_step();

  bool wants_logits(int slot, int64_t position, bool emits) const;
  int64_t logit_rows(const StepItem& item) const;
  int64_t head_rounds() const;
  void gather_rows();

  Status compute();
  Status audit();
  Status sample_round(const HeadRows& head);
  void report_faults();
  CommitEntry sample(const LogitRow& row, std::span<const float> logits,
                     const LogitSummary& summary, Sampler& sampler) const;
  void find_tops(const LogitRow& row, const CommitEntry& entry, std::span<const float> logits,
                 const LogitSummary& summary, std::vector<TopLogprob>& out) const;

  Status commit(OrderSource* source);
  Status send_tops();
  std::span<const std::byte> message(const CommitHeader& header, std::span<const std::byte> orders);
  Status apply(int rank, const CommitHeader& mine, std::span<const std::byte> bytes);
  Status check_guard(int rank, const CommitHeader& mine, const CommitHeader& theirs) const;
  Status apply_entry(int rank, int32_t index, const CommitEntry& entry);
  void apply_fault(const CommitEntry& entry);
  void account(const ForwardTimes& before, int64_t forward_ns, int64_t commit_ns);
  void complete_report();
  Request& request(int slot) { return requests_[static_cast<size_t>(slot)]; }
  const Request& request(int slot) const { return requests_[static_cast<size_t>(slot)]; }

  RankEngine& engine_;
  const RunOptions options_;
  RunSink& sink_;
  Channel* capture_channel_;  // null: nothing is shown
  Scheduler scheduler_;
  std::vector<Request> requests_;  // by slot; the prompt is the scheduler's
  OrderSender sender_;
  OrderReceiver receiver_;
  Orders orders_;  // to be applied by the next step
  CaptureLog capture_;
  LoadRecorder loads_;
  StepReport report_;
  bool ended_ = false;
  int64_t computed_ = 0;  // steps
  // Of the current step.
  const StepPlan* plan_ = nullptr;
  std::vector<int32_t> tokens_;
  std::vector<StepSequence> sequences_;
  std::vector<RowOrigin> origins_;
  std::vector<int64_t> logit_rows_, rank_rows_;
  std::vector<LogitRow> logit_origins_;
  Outcome outcome_, first_outcome_;
  bool wants_tops_ = false;    // any row of the group
  std::vector<bool> spoiled_;  // by slot: ended in this step since a row is not finite
  std::vector<std::byte> message_;
  std::vector<std::vector<std::byte>> received_tops_;  // by rank, on rank 0
};

}  // namespace wingspan
