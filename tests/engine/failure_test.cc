// Ranks that die, stop or disagree: a diagnosed error on every other rank, never a hang.
#include <gtest/gtest.h>

#include <thread>

#include "comm/faulty.h"
#include "engine/run_model.h"
#include "engine/tiny_model.h"

namespace wingspan::test {
namespace {

struct Prepared {
  ModelConfig config;
  std::shared_ptr<const ModelHost> host;
  EngineOptions options;
};

Prepared prepare() {
  const std::string directory = write_tiny_model({});
  Prepared p;
  p.config = *read_model_config(real_files(), directory);
  std::shared_ptr<const WeightSource> source = *open_checkpoint_source(real_files(), directory);
  p.host = *load_model_host(p.config, source, ComputeMode::kF32, 1, nullptr);
  p.options.kernels = *choose_kernels("portable");
  p.options.kv_tokens_per_rank = 256;
  return p;
}

std::vector<Request> some_requests() {
  std::vector<Request> out(3);
  for (Request& r : out) {
    r.prompt = {1, 2, 3};
    r.max_tokens = 30;
  }
  return out;
}

// Runs 3 ranks of which rank 1 follows `plan`; returns each rank's error ("" when there is none).
std::vector<std::string> run_with_fault(const FaultPlan& plan, int64_t deadline_ms) {
  const Prepared p = prepare();
  const Placement placement = make_placement(p.config, 3, PlacementKind::kContiguous);
  GroupOptions options;
  options.deadline_ms = deadline_ms;
  auto groups = make_loopback(3, options);
  groups[1] = make_faulty(std::move(groups[1]), plan);
  std::vector<std::string> errors(3);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < 3; ++r) {
    threads.emplace_back([&, r] {
      auto engine = Engine::create(*groups[r], p.host, placement, p.options, nullptr);
      if (!engine) {
        errors[r] = engine.error().message();
        return;
      }
      RunSink sink;
      auto report = (*engine)->run(some_requests(), {}, sink);
      if (!report) errors[r] = report.error().message();
    });
  }
  for (auto& t : threads) t.join();
  return errors;
}

TEST(EngineFailure, ARankThatDiesEndsTheOthersWithItsName) {
  FaultPlan plan;
  plan.die_at_step = 4;
  plan.die_at_layer = 2;
  const auto errors = run_with_fault(plan, 8000);
  for (size_t r : {0U, 2U}) {
    EXPECT_NE(errors[r].find("rank 1"), std::string::npos) << errors[r];
    EXPECT_NE(errors[r].find("layer 2"), std::string::npos) << errors[r];
    EXPECT_NE(errors[r].find("step 4"), std::string::npos) << errors[r];
    EXPECT_EQ(errors[r].find('\n'), std::string::npos);
  }
}

TEST(EngineFailure, ARankThatStopsIsNamedWithinTheDeadline) {
  FaultPlan plan;
  plan.stop_at_step = 3;
  const auto errors = run_with_fault(plan, 500);
  for (size_t r : {0U, 2U}) {
    EXPECT_NE(errors[r].find("rank 1"), std::string::npos) << errors[r];
    EXPECT_NE(errors[r].find("step 3"), std::string::npos) << errors[r];
  }
}

TEST(EngineFailure, DelaysChangeNothing) {
  FaultPlan plan;
  plan.delay_probability = 0.3;
  plan.max_delay_us = 300;
  for (const auto& error : run_with_fault(plan, 8000)) EXPECT_EQ(error, "");
}

TEST(EngineFailure, RanksThatDisagreeAreToldInWhat) {
  const Prepared p = prepare();
  const Placement placement = make_placement(p.config, 2, PlacementKind::kContiguous);
  const Status status = run_loopback(2, {}, [&](Group& group) -> Status {
    EngineOptions options = p.options;
    options.prefill_chunk += group.rank();
    WS_ASSIGN(auto engine, Engine::create(group, p.host, placement, options, nullptr));
    static_cast<void>(engine);
    return {};
  });
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("prefill chunk"), std::string::npos)
      << status.error().message();
}

TEST(EngineFailure, BadRequestsAreRefused) {
  const Prepared p = prepare();
  const auto refused = [&](const Request& r) {
    const Status s = check_request(p.config, r);
    return s ? std::string() : s.error().message();
  };
  Request r;
  EXPECT_NE(refused(r).find("empty"), std::string::npos);
  r.prompt = {64};
  EXPECT_NE(refused(r).find("outside the vocabulary"), std::string::npos);
  r.prompt = {-1};
  EXPECT_NE(refused(r).find("outside the vocabulary"), std::string::npos);
  r.prompt.assign(257, 1);
  EXPECT_NE(refused(r).find("256 positions"), std::string::npos);
  r.prompt = {1};
  r.max_tokens = INT64_MAX;
  EXPECT_NE(refused(r).find("positions"), std::string::npos);
  r.max_tokens = 1;
  r.sampling.top_p = 0;
  EXPECT_NE(refused(r).find("top_p"), std::string::npos);
  r.sampling.top_p = 1;
  r.sampling.temperature = -1;
  EXPECT_NE(refused(r).find("temperature"), std::string::npos);
  r.sampling.temperature = 0;
  EXPECT_EQ(refused(r), "");
}

}  // namespace
}  // namespace wingspan::test
