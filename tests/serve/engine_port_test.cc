// The port between the server and the engine, one rule at a time.
#include <gtest/gtest.h>

#include <thread>

#include "serve/engine_port.h"
#include "serve/health.h"
#include "serve/recorder.h"

namespace wingspan::serve {
namespace {

using test::asked;
using test::ManualClock;
using test::Recorder;
using test::token;

struct Fixture {
  explicit Fixture(const PortLimits& limits = {})
      : port(
            limits, [this] { ++wakes; }, clock) {}
  RequestId submit(const std::shared_ptr<Recorder>& listener) {
    const auto id = port.submit(asked(4, {1, 2}), listener);
    EXPECT_TRUE(id) << id.error().message();
    return id.value_or(0);
  }
  Orders next() {
    Orders orders;
    port.next(orders, false);
    return orders;
  }
  void report(StepReport report) {
    report.step = ++step;
    port.on_report(std::move(report));
  }
  ManualClock clock;
  std::atomic<int> wakes{0};
  int64_t step = 0;
  EnginePort port;
};

StepReport tokens_of(std::vector<TokenEvent> tokens) {
  StepReport report;
  report.tokens = std::move(tokens);
  return report;
}

TEST(EnginePort, ARequestFromSubmissionToItsEnd) {
  Fixture f;
  const auto a = std::make_shared<Recorder>();
  const RequestId id = f.submit(a);
  EXPECT_FALSE(f.port.idle());
  EXPECT_EQ(f.port.snapshot().waiting, 1);
  const Orders orders = f.next();
  ASSERT_EQ(orders.add.size(), 1U);
  EXPECT_EQ(orders.add[0].id, id);
  EXPECT_EQ(orders.add[0].request.prompt, (std::vector<int32_t>{1, 2}));
  EXPECT_TRUE(f.next().empty()) << "ordered once";

  StepReport first = tokens_of({token(id, 2)});
  first.started.push_back({id, 0, 3});
  f.report(std::move(first));
  EXPECT_EQ(f.port.snapshot().waiting, 0);
  EXPECT_EQ(f.port.snapshot().running, 1);
  StepReport second;
  second.preempted.push_back(id);
  f.report(std::move(second));
  EXPECT_EQ(f.wakes, 1) << "one wake-up until drain() runs";
  EXPECT_EQ(a->tokens.size(), 0U);
  f.port.drain();
  EXPECT_EQ(a->starts, 1);
  EXPECT_EQ(a->rank, 3);
  EXPECT_EQ(a->preemptions, 1);
  EXPECT_EQ(a->tokens, std::vector<int64_t>{2});
  EXPECT_EQ(a->step_ends, 2);
  f.report(tokens_of({token(id, 3), token(id, 4, FinishReason::kLength)}));
  EXPECT_EQ(f.wakes, 2);
  EXPECT_EQ(f.port.snapshot().running, 0);
  EXPECT_FALSE(f.port.idle()) << "events wait";
  f.port.drain();
  EXPECT_TRUE(a->ended);
  EXPECT_EQ(a->reason, FinishReason::kLength);
  EXPECT_FALSE(a->unwritten);
  EXPECT_EQ(a->step_ends, 3);
  EXPECT_TRUE(f.port.idle());
  EXPECT_EQ(a.use_count(), 1) << "nothing is left behind";
}

TEST(EnginePort, EndsWithoutATokenCarryTheirReason) {
  Fixture f;
  const auto a = std::make_shared<Recorder>();
  const RequestId id = f.submit(a);
  f.next();
  StepReport report;
  report.ended.push_back({id, FinishReason::kNotFinite, "layer 3"});
  f.report(std::move(report));
  f.port.drain();
  EXPECT_EQ(a->reason, FinishReason::kNotFinite);
  EXPECT_EQ(a->what, "layer 3");
  EXPECT_EQ(f.port.snapshot().waiting, 0);
}

TEST(EnginePort, TheQueueHasABoundAndTakesAllOrNone) {
  PortLimits limits;
  limits.max_waiting = 3;
  Fixture f(limits);
  const auto a = std::make_shared<Recorder>();
  const RequestId first = f.submit(a);
  f.submit(a);
  std::vector<std::pair<Request, std::shared_ptr<RequestListener>>> two(2, {asked(1), a});
  const auto refused = f.port.submit_all(two);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kInvalidInput);
  EXPECT_NE(refused.error().message().find("try again"), std::string::npos);
  EXPECT_FALSE(f.port.full());
  f.submit(a);
  EXPECT_TRUE(f.port.full());
  EXPECT_EQ(f.next().add.size(), 3U);
  EXPECT_FALSE(f.port.submit(asked(1), a)) << "the engine's queue counts";
  StepReport report;
  report.started.push_back({first, 0, 0});
  f.report(std::move(report));
  EXPECT_TRUE(f.port.submit(asked(1), a));
}

TEST(EnginePort, CancellingBeforeAndAfterTheOrder) {
  Fixture f;
  const auto early = std::make_shared<Recorder>(), late = std::make_shared<Recorder>();
  const RequestId early_id = f.submit(early);
  f.port.cancel(early_id);
  EXPECT_FALSE(early->ended) << "not called from cancel()";
  EXPECT_TRUE(f.next().empty()) << "the engine never hears of it";
  const RequestId late_id = f.submit(late);
  f.next();
  StepReport started = tokens_of({token(late_id, 2)});
  started.started.push_back({late_id, 0, 0});
  f.report(std::move(started));
  f.port.cancel(late_id);
  f.port.cancel(late_id);
  EXPECT_EQ(f.port.snapshot().running, 0);
  EXPECT_EQ(f.next().cancel, std::vector<RequestId>{late_id});
  EXPECT_TRUE(f.next().empty());
  // The engine answers, and had made a last token.
  StepReport ended = tokens_of({token(late_id, 3)});
  ended.ended.push_back({late_id, FinishReason::kCancelled, ""});
  f.report(std::move(ended));
  f.port.drain();
  for (const auto* each : {&early, &late}) {
    const std::shared_ptr<Recorder>& one = *each;
    EXPECT_TRUE(one->ended);
    EXPECT_EQ(one->reason, FinishReason::kCancelled);
    EXPECT_TRUE(one->tokens.empty());
    EXPECT_FALSE(one->unwritten);
    EXPECT_EQ(one.use_count(), 1);
  }
  f.port.cancel(12345);
  EXPECT_TRUE(f.port.idle());
}

TEST(EnginePort, AListenerMayCancelItselfInTheMiddleOfAStep) {
  Fixture f;
  const auto a = std::make_shared<Recorder>();
  const RequestId id = f.submit(a);
  f.next();
  a->call = [&] { f.port.cancel(id); };
  f.report(tokens_of({token(id, 2), token(id, 3)}));
  f.port.drain();
  EXPECT_EQ(a->tokens, std::vector<int64_t>{2});
  EXPECT_EQ(a->step_ends, 1) << "what it had is written";
  f.port.drain();
  EXPECT_TRUE(a->ended);
  EXPECT_EQ(f.next().cancel, std::vector<RequestId>{id});
}

TEST(EnginePort, WaitingHasATime) {
  PortLimits limits;
  limits.queue_timeout_s = 10;
  Fixture f(limits);
  const auto runs = std::make_shared<Recorder>(), ordered = std::make_shared<Recorder>(),
             young = std::make_shared<Recorder>();
  const RequestId running = f.submit(runs), waiting = f.submit(ordered);
  f.next();
  StepReport report;
  report.started.push_back({running, 0, 0});
  f.report(std::move(report));
  f.clock.advance(5);
  f.submit(young);
  f.clock.advance(4.9);
  EXPECT_TRUE(f.next().cancel.empty());
  f.clock.advance(0.2);
  EXPECT_EQ(f.next().cancel, std::vector<RequestId>{waiting});
  f.port.drain();
  EXPECT_TRUE(ordered->ended);
  EXPECT_EQ(ordered->reason, FinishReason::kCancelled);
  EXPECT_NE(ordered->what.find("longer than 10 s"), std::string::npos) << ordered->what;
  EXPECT_FALSE(runs->ended);
  EXPECT_FALSE(young->ended);
  EXPECT_EQ(f.port.snapshot().waiting, 1);
}

TEST(EnginePort, FailureEndsEverythingAfterWhatWasMade) {
  Fixture f;
  const auto a = std::make_shared<Recorder>(), b = std::make_shared<Recorder>(),
             c = std::make_shared<Recorder>();
  const RequestId id = f.submit(a), done = f.submit(c);
  f.next();
  f.submit(b);
  f.report(tokens_of({token(id, 2), token(done, 2, FinishReason::kStop)}));
  f.port.on_failure("rank 2 is lost");
  f.port.on_failure("again");
  f.port.drain();
  EXPECT_EQ(a->tokens, std::vector<int64_t>{2});
  for (const auto& one : {a, b}) {
    EXPECT_TRUE(one->ended);
    EXPECT_EQ(one->reason, FinishReason::kNone);
    EXPECT_EQ(one->what, "rank 2 is lost");
  }
  EXPECT_EQ(c->reason, FinishReason::kStop);
  const auto refused = f.port.submit(asked(1), a);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kFailed);
  EXPECT_TRUE(f.port.snapshot().failed);
  EXPECT_EQ(f.port.snapshot().failure, "rank 2 is lost");
  EXPECT_EQ(f.port.snapshot().waiting, 0);
  EXPECT_EQ(f.port.snapshot().running, 0);
  EXPECT_TRUE(f.port.idle());
  EXPECT_EQ(b.use_count(), 1);
}

TEST(EnginePort, DrainAndStop) {
  Fixture f;
  const auto a = std::make_shared<Recorder>();
  f.submit(a);
  f.port.drain_begin();
  EXPECT_FALSE(f.port.submit(asked(1), a));
  EXPECT_FALSE(f.next().stop);
  f.port.stop();
  EXPECT_TRUE(f.next().stop);
  StepReport last;
  last.last = true;
  f.report(std::move(last));
  f.port.drain();
  EXPECT_TRUE(a->ended);
  EXPECT_EQ(a->reason, FinishReason::kCancelled);
  EXPECT_TRUE(f.port.snapshot().stopped);
  EXPECT_TRUE(f.port.idle());
}

TEST(EnginePort, AnIdleEngineIsWokenByARequest) {
  Fixture f;
  std::thread engine([&] {
    Orders orders;
    while (orders.add.empty()) f.port.next(orders, true);
  });
  f.submit(std::make_shared<Recorder>());
  engine.join();
}

// /health wants a first step, and who watches wants to see at once that a cancelled request is
// gone.
TEST(EnginePort, AnEngineWaitsOnlyWhenNothingIsNew) {
  Fixture f;
  const auto takes_s = [&] {
    Orders orders;
    const int64_t begin_ns = system_clock().now_ns();
    f.port.next(orders, true);
    return seconds(begin_ns, system_clock().now_ns());
  };
  EXPECT_LT(takes_s(), 0.9) << "the first step";
  EXPECT_GE(takes_s(), 0.9);
  const RequestId id = f.submit(std::make_shared<Recorder>());
  EXPECT_LT(takes_s(), 0.9) << "woken";
  EXPECT_LT(takes_s(), 0.9) << "the step that begins it";
  f.port.cancel(id);
  EXPECT_LT(takes_s(), 0.9);
  EXPECT_LT(takes_s(), 0.9) << "the step that cancels it";
  EXPECT_GE(takes_s(), 0.9);
}

TEST(EnginePort, TheEngineWaitsForATextThreadThatIsTooFarBehind) {
  PortLimits limits;
  limits.max_reports = 3;
  Fixture f(limits);
  std::atomic<int> reported{0};
  std::vector<int64_t> seen;
  f.port.observe([&](const StepReport& report) { seen.push_back(report.step); });
  std::thread engine([&] {
    for (int i = 0; i < 10; ++i) {
      f.report({});
      ++reported;
    }
  });
  while (seen.size() < 10) {
    EXPECT_LE(reported - static_cast<int>(seen.size()), 3);
    f.port.drain();
    std::this_thread::yield();
  }
  engine.join();
  EXPECT_EQ(seen, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST(EngineHealth, FollowsTheSteps) {
  EnginePort::Snapshot snapshot;
  EXPECT_FALSE(engine_health(snapshot, 5, 30).ready);
  snapshot.last_step_ns = 1'000'000'000;
  EXPECT_TRUE(engine_health(snapshot, 30'000'000'000, 30).ready);
  const Health old = engine_health(snapshot, 40'000'000'000, 30);
  EXPECT_FALSE(old.ready);
  EXPECT_NE(old.why.find("39.0 s"), std::string::npos) << old.why;
  snapshot.draining = true;
  EXPECT_FALSE(engine_health(snapshot, 1'000'000'000, 30).ready);
  snapshot.failed = true;
  snapshot.failure = "rank 1 is lost";
  EXPECT_NE(engine_health(snapshot, 0, 30).why.find("rank 1 is lost"), std::string::npos);
}

}  // namespace
}  // namespace wingspan::serve
