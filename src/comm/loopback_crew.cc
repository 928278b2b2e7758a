#include "comm/loopback_crew.h"

#include <utility>

namespace wingspan {
namespace {

class LoopbackCrew final : public Crew {
 public:
  LoopbackCrew(std::shared_ptr<LoopbackWorld> world, std::shared_ptr<CrewState> state, int rank)
      : world_(std::move(world)), state_(std::move(state)), rank_(rank) {}

  std::span<std::byte> memory() override { return {state_->memory.data(), state_->memory.size()}; }

  int cpus() const override { return world_->cpus(); }

  Status meet() override {
    CrewState& s = *state_;
    const int64_t round = ++round_;
    s.rank[static_cast<size_t>(rank_)].arrived.store(round, std::memory_order_release);
    const int64_t arrived = s.arrivals.fetch_add(1, std::memory_order_acq_rel) + 1;
    if (arrived == round * world_->ranks()) {
      // All have left the round before, so nobody looks at these.
      s.taken.store(0, std::memory_order_relaxed);
      s.done.store(0, std::memory_order_relaxed);
      s.started.store(round, std::memory_order_release);
      world_->open_gate(s.start_gate);
      return {};
    }
    return world_->wait(
        rank_, s.start_gate, [&] { return s.started.load(std::memory_order_acquire) >= round; },
        [&](int r) { return s.rank[static_cast<size_t>(r)].arrived.load() < round; });
  }

  int64_t take(int64_t pieces) override {
    CrewState& s = *state_;
    const int64_t piece = s.taken.fetch_add(1, std::memory_order_relaxed);
    if (piece >= pieces) return -1;
    s.rank[static_cast<size_t>(rank_)].working.fetch_add(1, std::memory_order_relaxed);
    return piece;
  }

  void done(int64_t pieces) override {
    CrewState& s = *state_;
    s.rank[static_cast<size_t>(rank_)].working.fetch_sub(1, std::memory_order_relaxed);
    if (s.done.fetch_add(1, std::memory_order_acq_rel) + 1 < pieces) return;
    s.finished.store(round_, std::memory_order_seq_cst);
    if (s.finish_waiters.load(std::memory_order_seq_cst) > 0) world_->open_gate(s.finish_gate);
  }

  Status finish(int64_t pieces) override {
    CrewState& s = *state_;
    const auto ready = [&] { return s.finished.load(std::memory_order_seq_cst) >= round_; };
    if (pieces == 0 || ready()) return {};
    s.finish_waiters.fetch_add(1, std::memory_order_seq_cst);
    Status status = world_->wait(rank_, s.finish_gate, ready, [&](int r) {
      return s.rank[static_cast<size_t>(r)].working.load() > 0;
    });
    s.finish_waiters.fetch_sub(1, std::memory_order_relaxed);
    return status;
  }

 private:
  std::shared_ptr<LoopbackWorld> world_;
  std::shared_ptr<CrewState> state_;
  int rank_;
  int64_t round_ = 0;
};

}  // namespace

std::unique_ptr<Crew> make_loopback_crew(std::shared_ptr<LoopbackWorld> world,
                                         std::shared_ptr<CrewState> state, int rank) {
  return std::make_unique<LoopbackCrew>(std::move(world), std::move(state), rank);
}

}  // namespace wingspan
