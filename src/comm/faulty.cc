#include "comm/faulty.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>
#include <utility>

#include "base/rng.h"

namespace wingspan {
namespace {

// What a group and its channels share: the plan, and where the rank is.
class Script {
 public:
  explicit Script(const FaultPlan& plan) : plan_(plan), rng_(plan.seed) {}

  void enter(const Progress& progress) { place_ = progress; }

  // Before each post and wait: perhaps a pause, death, or silence.
  Status act() {
    if (plan_.delay_probability > 0 && rng_.uniform() < plan_.delay_probability) {
      const auto us = rng_.below(static_cast<uint64_t>(plan_.max_delay_us) + 1);
      std::this_thread::sleep_for(std::chrono::microseconds(us));
    }
    if (place_.step == plan_.die_at_step && place_.layer == plan_.die_at_layer) {
      return failed(fmt::format("the fault plan ends this rank at step {}, layer {}", place_.step,
                                place_.layer));
    }
    if (place_.step == plan_.stop_at_step && !stopped_) {
      stopped_ = true;
      stop_requested_ = true;
    }
    return {};
  }
  // True once: the rank shall now be silent.
  bool take_stop() { return std::exchange(stop_requested_, false); }

  // True for the message whose bit is to be flipped.
  bool corrupt_this() { return message_++ == plan_.corrupt_message; }
  uint64_t random_below(uint64_t bound) { return rng_.below(bound); }

 private:
  FaultPlan plan_;
  Rng rng_;
  Progress place_;
  int64_t message_ = 0;
  bool stopped_ = false, stop_requested_ = false;
};

Status act_or_stay_silent(Script& script, Group& group) {
  WS_RETURN_IF_ERROR(script.act());
  if (!script.take_stop()) return {};
  // Silence until the others give up on this rank: nothing is posted, and no CPU time is used.
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    WS_RETURN_IF_ERROR(group.check());
  }
}

class FaultyChannel final : public Channel {
 public:
  FaultyChannel(std::unique_ptr<Channel> inner, std::shared_ptr<Script> script, Group& group)
      : inner_(std::move(inner)), script_(std::move(script)), group_(group) {}

  size_t capacity() const override { return inner_->capacity(); }
  Expected<std::span<std::byte>> send_region(int peer) override {
    return inner_->send_region(peer);
  }
  Status post(int peer, size_t bytes) override {
    WS_RETURN_IF_ERROR(act());
    if (bytes > 0 && script_->corrupt_this()) {
      WS_ASSIGN(auto region, inner_->send_region(peer));
      const uint64_t bit = script_->random_below(bytes * 8);
      region[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    }
    return inner_->post(peer, bytes);
  }
  Expected<std::span<const std::byte>> wait(int peer) override {
    WS_RETURN_IF_ERROR(act());
    return inner_->wait(peer);
  }
  Status wait_all() override {
    WS_RETURN_IF_ERROR(act());
    return inner_->wait_all();
  }
  Status finish() override { return inner_->finish(); }

 private:
  Status act() { return act_or_stay_silent(*script_, group_); }

  std::unique_ptr<Channel> inner_;
  std::shared_ptr<Script> script_;
  Group& group_;
};

class FaultyCrew final : public Crew {
 public:
  FaultyCrew(std::unique_ptr<Crew> inner, std::shared_ptr<Script> script, Group& group)
      : inner_(std::move(inner)), script_(std::move(script)), group_(group) {}

  std::span<std::byte> memory() override { return inner_->memory(); }
  int cpus() const override { return inner_->cpus(); }
  Status meet() override {
    WS_RETURN_IF_ERROR(act_or_stay_silent(*script_, group_));
    return inner_->meet();
  }
  int64_t take(int64_t pieces) override { return inner_->take(pieces); }
  void done(int64_t pieces) override { inner_->done(pieces); }
  Status finish(int64_t pieces) override { return inner_->finish(pieces); }

 private:
  std::unique_ptr<Crew> inner_;
  std::shared_ptr<Script> script_;
  Group& group_;
};

class FaultyGroup final : public Group {
 public:
  FaultyGroup(std::unique_ptr<Group> inner, const FaultPlan& plan)
      : inner_(std::move(inner)), script_(std::make_shared<Script>(plan)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  const char* transport() const override { return inner_->transport(); }
  int local_ranks() const override { return inner_->local_ranks(); }
  Expected<std::unique_ptr<Channel>> open_channel(size_t capacity, std::string name) override {
    WS_ASSIGN(auto channel, inner_->open_channel(capacity, std::move(name)));
    return std::make_unique<FaultyChannel>(std::move(channel), script_, *inner_);
  }
  Expected<std::unique_ptr<Crew>> open_crew(size_t bytes, std::string name) override {
    WS_ASSIGN(auto crew, inner_->open_crew(bytes, std::move(name)));
    if (crew == nullptr) return crew;
    return std::make_unique<FaultyCrew>(std::move(crew), script_, *inner_);
  }
  Status barrier() override { return inner_->barrier(); }
  void set_progress(const Progress& progress) override {
    script_->enter(progress);
    inner_->set_progress(progress);
  }
  Status check() override { return inner_->check(); }
  void abort(const Error& error) override { inner_->abort(error); }

 private:
  std::unique_ptr<Group> inner_;
  std::shared_ptr<Script> script_;
};

}  // namespace

std::unique_ptr<Group> make_faulty(std::unique_ptr<Group> inner, const FaultPlan& plan) {
  return std::make_unique<FaultyGroup>(std::move(inner), plan);
}

}  // namespace wingspan
