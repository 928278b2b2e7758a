// The engine of one rank: owns what its steps need, and the loop plan -> forward -> sample ->
// commit.
#pragma once

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

class RankEngine final : public Engine {
 public:
  // Collective: opens the channels.
  static Expected<std::unique_ptr<Engine>> create(Group& group,
                                                  std::shared_ptr<const ModelHost> host,
                                                  Placement placement, RankExperts experts,
                                                  DType expert_dtype, const EngineOptions& options,
                                                  std::unique_ptr<Pool> pool);

  Expected<RunReport> run(const std::vector<Request>& requests, const RunOptions& options,
                          RunSink& sink) override;
  int64_t expert_weight_bytes() const override { return experts_.bytes; }

 private:
  friend class RunLoop;

  RankEngine(Group& group, std::shared_ptr<const ModelHost> host, Placement placement,
             RankExperts experts, DType expert_dtype, const EngineOptions& options,
             std::unique_ptr<Pool> pool, std::unique_ptr<Exchange> exchange,
             std::unique_ptr<HeadExchange> head, std::unique_ptr<JointRows> joint,
             std::unique_ptr<Channel> commit, std::unique_ptr<Channel> load);

  int64_t max_rows() const { return limits_.max_rows; }

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
  std::unique_ptr<Channel> commit_, load_;
  OpRunner ops_;
  ForwardPass forward_;
  Sampler sampler_;
  int64_t next_step_ = 0;
};

}  // namespace wingspan
