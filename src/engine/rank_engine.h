// The engine of one rank: owns what its steps need, and the loop plan -> forward -> sample ->
// commit.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/pool.h"
#include "engine/engine.h"
#include "ep/exchange.h"
#include "ep/head_exchange.h"
#include "ep/joint_rows.h"
#include "model/forward.h"
#include "model/op_runner.h"
#include "model/sampler.h"

namespace wingspan {

// Opened once, by all ranks in the same order.
struct EngineChannels {
  std::unique_ptr<Channel> commit, tops, load;  // load: null without MoE layers
  std::map<size_t, std::unique_ptr<Channel>>
      capture;  // by capacity, as runs show rows of more kinds
};

class RankEngine final : public Engine {
 public:
  // Collective: opens the channels.
  static Expected<std::unique_ptr<Engine>> create(Group& group,
                                                  std::shared_ptr<const ModelHost> host,
                                                  Placement placement, RankExperts experts,
                                                  DType expert_dtype, const EngineOptions& options,
                                                  std::unique_ptr<Pool> pool);

  Expected<std::unique_ptr<StepRunner>> start(const RunOptions& options, RunSink& sink) override;
  const StepLimits& limits() const override { return step_limits_; }
  int64_t expert_weight_bytes() const override { return experts_.bytes; }

 private:
  friend class StepLoop;

  RankEngine(Group& group, std::shared_ptr<const ModelHost> host, Placement placement,
             RankExperts experts, DType expert_dtype, const EngineOptions& options,
             std::unique_ptr<Pool> pool, std::unique_ptr<Exchange> exchange,
             std::unique_ptr<HeadExchange> head, std::unique_ptr<JointRows> joint,
             EngineChannels channels);

  Group& group() override { return group_; }
  const ModelConfig& config() const override { return host_->config; }

  Group& group_;
  std::shared_ptr<const ModelHost> host_;
  Placement placement_;  // layers in the model's order
  RankExperts experts_;
  EngineOptions options_;
  ForwardLimits limits_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<HeadExchange> head_;  // null in a group of one rank
  std::unique_ptr<JointRows> joint_;    // null where ranks share no memory
  EngineChannels channels_;
  StepLimits step_limits_;
  OpRunner ops_;
  ForwardPass forward_;
  std::vector<Sampler> samplers_;  // one a thread
  int64_t next_step_ = 0;          // steps that had rows
  int64_t next_round_ = 0;         // commits
};

}  // namespace wingspan
