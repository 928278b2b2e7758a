// What the loopback ranks of one group share: where each one is, whether the run was aborted, and
// how to wait.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "comm/group.h"
#include "tensor/buffer.h"

namespace wingspan {

// One rank as the others see it. Each on its own cache lines.
struct alignas(128) RankState {
  std::atomic<int64_t> step{0};
  std::atomic<int> layer{-1};
  std::atomic<const char*> exchange{""};
  std::atomic<int> thread_id{0};  // of the kernel; 0 before the first call
  std::atomic<bool> gone{false};  // its thread has ended
};

// A rank's words of one channel.
struct alignas(128) ChannelRank {
  std::atomic<int64_t> posted{0};    // rounds posted to all peers
  std::atomic<int64_t> finished{0};  // rounds whose regions may be overwritten
};

// A futex word on its own cache line, changed when something happened that sleepers wait for.
struct alignas(128) Gate {
  std::atomic<uint32_t> word{0};
};

struct ChannelState {
  ChannelState(int rank_count, size_t region_bytes);

  std::byte* region(int receiver, int sender, int64_t round) {
    return memory.data() + index(receiver, sender, round) * static_cast<int64_t>(capacity);
  }
  size_t& size(int receiver, int sender, int64_t round) {
    return sizes[static_cast<size_t>(index(receiver, sender, round))];
  }

  int ranks;
  size_t capacity;  // a multiple of 64
  Buffer memory;    // [receiver][sender][2][capacity]; untouched pages cost nothing
  std::vector<size_t> sizes;
  std::vector<ChannelRank> rank;
  // Ranks that have posted the rounds of this parity, in all; the last of a round opens the gate.
  std::atomic<int64_t> arrivals[2] = {0, 0};
  Gate posted_gate, finished_gate;
  std::atomic<int> finish_waiters{0};

 private:
  int64_t index(int receiver, int sender, int64_t round) const {
    return (static_cast<int64_t>(receiver) * ranks + sender) * 2 + round % 2;
  }
};

// A rank's words of a crew.
struct alignas(128) CrewRank {
  std::atomic<int64_t> arrived{0};  // rounds that it has come to
  std::atomic<int> working{0};      // pieces that it has taken and not done
};

// What a crew (crew.h) shares. The counters that all write have cache lines of their own.
struct CrewState {
  CrewState(int rank_count, size_t bytes) : memory(bytes), rank(static_cast<size_t>(rank_count)) {}

  Buffer memory;  // untouched pages cost nothing
  std::vector<CrewRank> rank;
  Gate start_gate, finish_gate;
  std::atomic<int64_t> arrivals{0}, started{0};
  std::atomic<int> finish_waiters{0};
  alignas(128) std::atomic<int64_t> taken{0};
  alignas(128) std::atomic<int64_t> done{0}, finished{0};
};

class LoopbackWorld {
 public:
  LoopbackWorld(int ranks, const GroupOptions& options);

  int ranks() const { return static_cast<int>(states_.size()); }
  int cpus() const { return cpus_; }
  RankState& state(int rank) { return states_[static_cast<size_t>(rank)]; }
  // The index-th channel of the group, made by whoever opens it first. Error: another capacity.
  Expected<std::shared_ptr<ChannelState>> channel(size_t index, size_t capacity,
                                                  const std::string& name);

  // The same for crews. Error: another size.
  Expected<std::shared_ptr<CrewState>> crew(size_t index, size_t bytes, const std::string& name);

  // Waits until `ready()`. `gate` is opened by those who make it true. On the way watches for an
  // abort and for lost peers; `missing(rank)` says whom the wait needs.
  template <class Ready, class Missing>
  Status wait(int rank, Gate& gate, const Ready& ready, const Missing& missing);

  void open_gate(Gate& gate);
  // The first abort counts. `rank` failed with `error`; the others fail with who, where and why.
  void abort(int rank, const Error& error);
  // The abort as `rank` is told of it, or OK.
  Status check(int rank) const;
  // The error that ended the run, as the failing rank gave it.
  const Error* first_error() const { return aborted_.load() ? &original_ : nullptr; }

 private:
  // Sleeps on the gate for at most a tenth of a second, unless it has changed since `seen`.
  static void sleep_on(Gate& gate, uint32_t seen);
  static int64_t now_ms();
  // OK, or who is lost: a needed rank whose thread ended, or got no CPU time since `cpu_ns` was
  // read.
  Status check_life(int rank, const std::vector<int64_t>& cpu_ns, int64_t waited_ms,
                    const std::vector<bool>& needed);
  void read_cpu_times(std::vector<int64_t>& out);
  std::string place(int rank);

  GroupOptions options_;
  int cpus_;  // that the process may use
  int spins_, yields_;
  std::vector<RankState> states_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<ChannelState>> channels_;
  std::atomic<bool> aborted_{false};
  int failed_rank_ = -1;
  Error original_, told_;  // written before aborted_
  std::vector<std::weak_ptr<ChannelState>> all_channels_;
  std::vector<std::shared_ptr<CrewState>> crews_;
};

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void yield_cpu();

template <class Ready, class Missing>
Status LoopbackWorld::wait(int rank, Gate& gate, const Ready& ready, const Missing& missing) {
  for (int i = 0; i < spins_; ++i) {
    if (ready()) return {};
    pause_cpu();
  }
  for (int i = 0; i < yields_; ++i) {
    if (ready()) return {};
    yield_cpu();
  }
  const int64_t start = now_ms();
  std::vector<int64_t> cpu_ns;  // filled only when a wait has become long
  int64_t read_at = start;
  for (;;) {
    const uint32_t seen = gate.word.load(std::memory_order_acquire);
    if (ready()) return {};
    WS_RETURN_IF_ERROR(check(rank));
    const int64_t now = now_ms();
    if (cpu_ns.empty() && now - start > options_.deadline_ms / 4) {
      read_cpu_times(cpu_ns);
      read_at = now;
    } else if (!cpu_ns.empty() && now - read_at > options_.deadline_ms * 3 / 4) {
      std::vector<bool> needed(states_.size());
      for (size_t r = 0; r < needed.size(); ++r) needed[r] = missing(static_cast<int>(r));
      WS_RETURN_IF_ERROR(check_life(rank, cpu_ns, now - start, needed));
      read_cpu_times(cpu_ns);
      read_at = now;
    }
    sleep_on(gate, seen);
  }
}

}  // namespace wingspan
