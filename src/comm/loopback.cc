#include "comm/loopback.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <exception>
#include <thread>

#include "base/check.h"
#include "base/refused.h"
#include "comm/loopback_crew.h"
#include "comm/loopback_world.h"

namespace wingspan {
namespace {

class LoopbackChannel final : public Channel {
 public:
  LoopbackChannel(std::shared_ptr<LoopbackWorld> world, std::shared_ptr<ChannelState> state,
                  int rank)
      : world_(std::move(world)), state_(std::move(state)), rank_(rank) {}

  size_t capacity() const override { return state_->capacity; }

  Expected<std::span<std::byte>> send_region(int peer) override {
    WS_RETURN_IF_ERROR(wait_writable(peer));
    return std::span<std::byte>(state_->region(peer, rank_, round_), state_->capacity);
  }

  Status post(int peer, size_t bytes) override {
    WS_CHECK(bytes <= state_->capacity, "{} > {}", bytes, state_->capacity);
    WS_RETURN_IF_ERROR(wait_writable(peer));
    state_->size(peer, rank_, round_) = bytes;
    if (++posts_ < state_->ranks) return {};
    // All peers have their rows: one store tells them, and the last rank of the round wakes the
    // sleepers.
    posts_ = 0;
    posted_round_ = round_ + 1;
    state_->rank[static_cast<size_t>(rank_)].posted.store(round_ + 1, std::memory_order_release);
    const int64_t arrived =
        state_->arrivals[round_ % 2].fetch_add(1, std::memory_order_acq_rel) + 1;
    if (arrived == static_cast<int64_t>(state_->ranks) * (round_ / 2 + 1)) {
      world_->open_gate(state_->posted_gate);
    }
    return {};
  }

  Expected<std::span<const std::byte>> wait(int peer) override {
    WS_CHECK(posted_round_ == round_ + 1, "wait before this rank posted to all peers");
    auto& posted = state_->rank[static_cast<size_t>(peer)].posted;
    if (posted.load(std::memory_order_acquire) <= round_) {
      WS_RETURN_IF_ERROR(world_->wait(
          rank_, state_->posted_gate,
          [&] { return posted.load(std::memory_order_acquire) > round_; },
          [&](int r) { return state_->rank[static_cast<size_t>(r)].posted.load() <= round_; }));
    }
    return std::span<const std::byte>(state_->region(rank_, peer, round_),
                                      state_->size(rank_, peer, round_));
  }

  Status wait_all() override {
    for (int peer = 0; peer < state_->ranks; ++peer) WS_RETURN_IF_ERROR(wait(peer));
    return {};
  }

  Status finish() override {
    WS_CHECK(posted_round_ == round_ + 1, "finish before this rank posted to all peers");
    ++round_;
    state_->rank[static_cast<size_t>(rank_)].finished.store(round_, std::memory_order_seq_cst);
    if (state_->finish_waiters.load(std::memory_order_seq_cst) > 0) {
      world_->open_gate(state_->finished_gate);
    }
    return {};
  }

 private:
  // The region of this round is free once the peer has finished the round before the last.
  Status wait_writable(int peer) {
    auto& finished = state_->rank[static_cast<size_t>(peer)].finished;
    if (finished.load(std::memory_order_acquire) >= round_ - 1) return {};
    state_->finish_waiters.fetch_add(1, std::memory_order_seq_cst);
    Status status = world_->wait(
        rank_, state_->finished_gate,
        [&] { return finished.load(std::memory_order_acquire) >= round_ - 1; },
        [&](int r) { return r == peer; });
    state_->finish_waiters.fetch_sub(1, std::memory_order_relaxed);
    return status;
  }

  std::shared_ptr<LoopbackWorld> world_;
  std::shared_ptr<ChannelState> state_;
  int rank_;
  int64_t round_ = 0, posted_round_ = 0;
  int posts_ = 0;
};

class LoopbackGroup final : public Group {
 public:
  LoopbackGroup(std::shared_ptr<LoopbackWorld> world, int rank)
      : world_(std::move(world)), rank_(rank) {}
  ~LoopbackGroup() override { world_->state(rank_).gone = true; }

  int rank() const override { return rank_; }
  int size() const override { return world_->ranks(); }
  const char* transport() const override { return "loopback"; }
  int local_ranks() const override { return world_->ranks(); }

  Expected<std::unique_ptr<Channel>> open_channel(size_t capacity, std::string name) override {
    remember_thread();
    WS_ASSIGN(auto state, world_->channel(opened_++, capacity, name));
    return std::make_unique<LoopbackChannel>(world_, std::move(state), rank_);
  }

  Expected<std::unique_ptr<Crew>> open_crew(size_t bytes, std::string name) override {
    remember_thread();
    WS_ASSIGN(auto state, world_->crew(opened_crews_++, bytes, name));
    return make_loopback_crew(world_, std::move(state), rank_);
  }

  Status barrier() override {
    if (!barrier_) {
      WS_ASSIGN(barrier_, open_channel(64, "barrier"));
    }
    for (int peer = 0; peer < size(); ++peer) WS_RETURN_IF_ERROR(barrier_->post(peer, 0));
    WS_RETURN_IF_ERROR(barrier_->wait_all());
    return barrier_->finish();
  }

  void set_progress(const Progress& progress) override {
    remember_thread();
    RankState& s = world_->state(rank_);
    s.step.store(progress.step, std::memory_order_relaxed);
    s.layer.store(progress.layer, std::memory_order_relaxed);
    s.exchange.store(progress.exchange, std::memory_order_relaxed);
  }

  Status check() override { return world_->check(rank_); }
  void abort(const Error& error) override { world_->abort(rank_, error); }

 private:
  void remember_thread() {
    if (thread_known_) return;
    thread_known_ = true;
    world_->state(rank_).thread_id = static_cast<int>(::syscall(SYS_gettid));
  }

  std::shared_ptr<LoopbackWorld> world_;
  int rank_;
  size_t opened_ = 0, opened_crews_ = 0;
  bool thread_known_ = false;
  std::unique_ptr<Channel> barrier_;
};

Status run_rank(Group& group, const std::function<Status(Group&)>& body) {
  Status status;
  try {
    status = body(group);
  } catch (const std::exception&) {
    status = Unexpected(error_of_exception());
  }
  if (!status) group.abort(status.error());
  return status;
}

}  // namespace

std::vector<std::unique_ptr<Group>> make_loopback(int ranks, const GroupOptions& options) {
  WS_CHECK(ranks >= 1, "ranks {}", ranks);
  auto world = std::make_shared<LoopbackWorld>(ranks, options);
  std::vector<std::unique_ptr<Group>> out;
  for (int r = 0; r < ranks; ++r) out.push_back(std::make_unique<LoopbackGroup>(world, r));
  return out;
}

Status run_loopback(int ranks, const GroupOptions& options,
                    const std::function<Status(Group&)>& body) {
  WS_CHECK(ranks >= 1, "ranks {}", ranks);
  const auto world = std::make_shared<LoopbackWorld>(ranks, options);
  std::vector<Status> results(static_cast<size_t>(ranks));
  const auto run_one = [&](int r) {
    LoopbackGroup group(world, r);
    results[static_cast<size_t>(r)] = run_rank(group, body);
  };
  if (ranks == 1) {
    run_one(0);
  } else {
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(ranks));
    for (int r = 0; r < ranks; ++r) {
      try {
        threads.emplace_back(run_one, r);
      } catch (const std::exception&) {
        world->abort(r, error_of_exception());  // those that run wait for it
        break;
      }
    }
    for (auto& t : threads) t.join();
  }
  if (const Error* first = world->first_error()) return Unexpected(*first);
  return {};
}

}  // namespace wingspan
