// Random traffic through the engine's port, with an engine that is simple enough to be a model.
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "base/rng.h"
#include "serve/engine_port.h"
#include "serve/recorder.h"
#include "support/rounds.h"

namespace wingspan::serve {
namespace {

using test::asked;
using test::Recorder;
using test::token;

// What is known of one request in the random test.
struct Tracked {
  std::shared_ptr<Recorder> listener;
  int64_t wanted = 0;
  bool cancelled = false;
};

// An engine that runs a few requests at a time, one token a step, sometimes preempting.
class FakeEngine {
 public:
  FakeEngine(EnginePort& port, uint64_t seed) : port_(port), rng_(seed) {}
  // False after the last step.
  bool step() {
    Orders orders;
    port_.next(orders, running_.empty() && waiting_.empty());
    for (Submit& add : orders.add) {
      EXPECT_TRUE(ids_.insert(add.id).second) << "an id used twice";
      waiting_.push_back(std::move(add));
    }
    StepReport report;
    report.step = ++steps_;
    for (const RequestId id : orders.cancel) cancel(id, report);
    while (running_.size() < 4 && !waiting_.empty()) {
      Submit& front = waiting_.front();
      report.started.push_back({front.id, 0, 0});
      running_[front.id] = {front.request.max_tokens, 0};
      waiting_.erase(waiting_.begin());
    }
    for (auto it = running_.begin(); it != running_.end();) {
      auto& [left, position] = it->second;
      if (rng_.below(10) == 0) report.preempted.push_back(it->first);
      const bool last = --left == 0;
      report.tokens.push_back(
          token(it->first, position++, last ? FinishReason::kLength : FinishReason::kNone));
      it = last ? running_.erase(it) : std::next(it);
    }
    report.last = orders.stop;
    port_.on_report(std::move(report));
    return !orders.stop;
  }

 private:
  void cancel(RequestId id, StepReport& report) {
    const bool was = running_.erase(id) > 0 ||
                     std::erase_if(waiting_, [id](const Submit& s) { return s.id == id; }) > 0;
    if (was) report.ended.push_back({id, FinishReason::kCancelled, ""});
  }
  EnginePort& port_;
  Rng rng_;
  int64_t steps_ = 0;
  std::vector<Submit> waiting_;
  std::map<RequestId, std::pair<int64_t, int64_t>> running_;
  std::set<RequestId> ids_;
};

// The engine and the text thread, as long as this lives.
class Running {
 public:
  Running(const PortLimits& limits, uint64_t seed)
      : port(limits,
             [this] {
               const std::lock_guard lock(mutex_);
               woken_ = true;
               wake_.notify_one();
             }),
        text_([this] { hand_out(); }),
        engine_([this, seed] {
          FakeEngine fake(port, seed);
          while (fake.step()) continue;
        }) {}
  void finish() {
    while (!port.idle()) std::this_thread::yield();
    port.stop();
    engine_.join();
    {
      const std::lock_guard lock(mutex_);
      end_ = true;
      wake_.notify_one();
    }
    text_.join();
    port.drain();
  }

 private:
  void hand_out() {
    for (std::unique_lock lock(mutex_); !end_;) {
      wake_.wait(lock, [this] { return woken_ || end_; });
      woken_ = false;
      lock.unlock();
      port.drain();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false, end_ = false;

 public:
  EnginePort port;

 private:
  std::thread text_, engine_;
};

void check(RequestId id, const Tracked& one) {
  const Recorder& seen = *one.listener;
  ASSERT_TRUE(seen.ended) << id;
  EXPECT_FALSE(seen.unwritten);
  EXPECT_LE(seen.starts, 1);
  for (size_t k = 0; k < seen.tokens.size(); ++k) {
    EXPECT_EQ(seen.tokens[k], static_cast<int64_t>(k));
  }
  const auto made = static_cast<int64_t>(seen.tokens.size());
  if (seen.reason == FinishReason::kLength) {
    EXPECT_EQ(made, one.wanted);
  } else {
    EXPECT_TRUE(one.cancelled && seen.reason == FinishReason::kCancelled);
    EXPECT_LE(made, one.wanted);
  }
  EXPECT_EQ(one.listener.use_count(), 1) << "the port keeps nothing";
}

// Three threads: the engine, the text thread, and one that submits and cancels. Afterwards each
// request that was not cancelled has all of its tokens, each that was a prefix of them, and every
// one has exactly one end.
TEST(EnginePortRandom, TrafficKeepsEveryPromise) {
  for (int round = 0; round < test::rounds(30); ++round) {
    const auto seed = static_cast<uint64_t>(round) + 1000;
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    PortLimits limits;
    limits.max_waiting = 1 + static_cast<int64_t>(rng.below(20));
    limits.max_reports = 1 + static_cast<int64_t>(rng.below(5));
    Running running(limits, seed);
    std::map<RequestId, Tracked> all;
    int refused = 0;
    for (int i = 0; i < 200; ++i) {
      Tracked one;
      one.listener = std::make_shared<Recorder>();
      one.wanted = 1 + static_cast<int64_t>(rng.below(8));
      const auto id = running.port.submit(asked(one.wanted), one.listener);
      if (!id) {
        ++refused;
        std::this_thread::yield();
        continue;
      }
      all.emplace(*id, one);
      if (rng.below(4) == 0) {
        const auto victim = std::next(all.begin(), static_cast<int64_t>(rng.below(all.size())));
        victim->second.cancelled = true;
        running.port.cancel(victim->first);
      }
      EXPECT_LE(running.port.snapshot().waiting, limits.max_waiting);
    }
    running.finish();
    for (const auto& [id, one] : all) check(id, one);
    EXPECT_EQ(running.port.snapshot().waiting, 0);
    EXPECT_EQ(running.port.snapshot().running, 0);
    EXPECT_GT(all.size(), 0U);
    EXPECT_EQ(static_cast<int>(all.size()) + refused, 200);
  }
}

}  // namespace
}  // namespace wingspan::serve
