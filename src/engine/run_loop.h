// One run over a set of requests: the state between steps, the same on every rank, and what this
// rank's rows turn into.
//
// A step: plan (the same on all ranks) -> forward of this rank's rows -> tokens of its sequences ->
// commit (every rank learns every token). Nothing counts before the commit.
#pragma once

#include <memory>
#include <vector>

#include "engine/capture.h"
#include "engine/load_recorder.h"
#include "engine/rank_engine.h"
#include "engine/wire.h"
#include "model/step.h"
#include "sched/scheduler.h"

namespace wingspan {

class RunLoop final : public StepTap {
 public:
  static Expected<std::unique_ptr<RunLoop>> create(RankEngine& engine,
                                                   const std::vector<Request>& requests,
                                                   const RunOptions& options, RunSink& sink);
  Expected<RunReport> run();

  // StepTap
  Status on_logits(int64_t index, std::span<const float> logits,
                   const LogitSummary& summary) override;
  bool wants_layers() const override { return options_.capture.hidden; }
  void on_layer(int layer, const float* hidden) override;
  void on_routing(int moe_index, int64_t rows, const int32_t* experts, const float* weights,
                  const float* logits) override;

 private:
  // A row of this rank's step whose logits are wanted.
  struct LogitRow {
    int request;
    int64_t position;
    bool emits;
  };
  struct RowOrigin {
    int request;
    int64_t position;
  };

  RunLoop(RankEngine& engine, const std::vector<Request>& requests, const RunOptions& options,
          RunSink& sink, Scheduler scheduler, std::unique_ptr<Channel> capture_channel);

  bool wants_logits(const Request& request, int64_t position, bool emits) const;
  void gather_rows();
  int64_t logit_rows(const StepItem& item) const;
  int64_t head_rounds() const;
  Status step();
  Status commit();
  Status apply(std::span<const std::byte> bytes);
  void apply_token(const CommitEntry& entry);
  void account(const ForwardTimes& before, int64_t forward_ns, int64_t commit_ns, bool prefill);

  RankEngine& engine_;
  const std::vector<Request>& requests_;
  const RunOptions& options_;
  RunSink& sink_;
  Scheduler scheduler_;
  std::unique_ptr<Channel> capture_channel_;
  CaptureLog capture_;
  LoadRecorder loads_;
  RunReport report_;
  // Of the current step.
  StepPlan plan_;
  std::vector<int32_t> tokens_;
  std::vector<StepSequence> sequences_;
  std::vector<RowOrigin> origins_;
  std::vector<int64_t> logit_rows_, rank_rows_;
  std::vector<LogitRow> logit_origins_;
  std::vector<CommitEntry> entries_;
};

}  // namespace wingspan
