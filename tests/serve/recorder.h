// What the tests of the engine's port share.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "serve/engine_port.h"

namespace wingspan::test {

class ManualClock final : public Clock {
 public:
  int64_t now_ns() const override { return now_.load(); }
  void advance(double by_s) { now_ += static_cast<int64_t>(by_s * 1e9); }

 private:
  std::atomic<int64_t> now_{1'000'000'000};
};

// Writes down what it is told, and checks the order that every listener relies on.
class Recorder final : public serve::RequestListener {
 public:
  void on_start(const StartEvent& event) override {
    EXPECT_FALSE(ended);
    ++starts;
    rank = event.rank;
  }
  void on_preempted() override { ++preemptions; }
  void on_token(const TokenEvent& event) override {
    EXPECT_FALSE(ended) << "a token after the end";
    EXPECT_TRUE(tokens.empty() || tokens.back() < event.position) << "ascending positions";
    tokens.push_back(event.position);
    unwritten = true;
    if (call) call();
  }
  void on_end(FinishReason finish, const std::string& text) override {
    EXPECT_FALSE(ended) << "a second end";
    ended = true;
    reason = finish;
    what = text;
    unwritten = true;
  }
  void on_step_end() override {
    unwritten = false;
    ++step_ends;
  }
  std::function<void()> call;
  int starts = 0, preemptions = 0, step_ends = 0, rank = -1;
  std::vector<int64_t> tokens;
  bool ended = false, unwritten = false;
  FinishReason reason = FinishReason::kNone;
  std::string what;
};

inline Request asked(int64_t max_tokens, std::vector<int32_t> prompt = {1}) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  return request;
}

inline TokenEvent token(RequestId id, int64_t position, FinishReason finish = FinishReason::kNone) {
  TokenEvent event;
  event.id = id;
  event.position = position;
  event.finish = finish;
  return event;
}

}  // namespace wingspan::test
