#include "comm/loopback_world.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <climits>
#include <fstream>

#include "base/cpus.h"

namespace wingspan {
namespace {

constexpr int kSpins = 4000;  // some 40 µs, where every rank has a core
// Where ranks share cores, a rank waits for ranks that have not run yet: it leaves its core at
// once, and the last to arrive wakes all with one call. Some laps of the run queue first catch near
// misses.
constexpr int kYields = 40, kYieldsShared = 4;
// A sleeping waiter wakes ten times a second for some 20 µs; a rank that computes gets far more,
// even as one of 64 on two cores.
constexpr double kAliveShare = 0.002;

// Nanoseconds that a thread of this process has run, or −1 if it has ended.
int64_t thread_cpu_ns(int thread_id) {
  std::ifstream file(fmt::format("/proc/self/task/{}/schedstat", thread_id));
  int64_t ns = -1;
  file >> ns;
  return file ? ns : -1;
}

}  // namespace

void yield_cpu() { ::sched_yield(); }

ChannelState::ChannelState(int rank_count, size_t region_bytes)
    : ranks(rank_count),
      capacity((region_bytes + 63) / 64 * 64),
      memory(static_cast<size_t>(rank_count) * static_cast<size_t>(rank_count) * 2 * capacity),
      sizes(static_cast<size_t>(rank_count) * static_cast<size_t>(rank_count) * 2),
      rank(static_cast<size_t>(rank_count)) {}

LoopbackWorld::LoopbackWorld(int ranks, const GroupOptions& options)
    : options_(options), cpus_(available_cpus()), states_(static_cast<size_t>(ranks)) {
  const bool own_core = ranks <= cpus_;
  spins_ = own_core ? kSpins : 1;
  yields_ = own_core ? kYields : kYieldsShared;
}

Expected<std::shared_ptr<ChannelState>> LoopbackWorld::channel(size_t index, size_t capacity,
                                                               const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (index == channels_.size()) {
    channels_.push_back(std::make_shared<ChannelState>(ranks(), capacity));
    all_channels_.push_back(channels_.back());
  }
  auto& found = channels_[index];
  if (found->capacity != (capacity + 63) / 64 * 64) {
    return failed(fmt::format("ranks opened the channel {} with different capacities", name),
                  "start", "start all ranks with the same options");
  }
  return found;
}

Expected<std::shared_ptr<CrewState>> LoopbackWorld::crew(size_t index, size_t bytes,
                                                         const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (index == crews_.size()) crews_.push_back(std::make_shared<CrewState>(ranks(), bytes));
  auto& found = crews_[index];
  if (found->memory.size() != bytes) {
    return failed(fmt::format("ranks opened the crew {} with different sizes", name), "start",
                  "start all ranks with the same options");
  }
  return found;
}

void LoopbackWorld::open_gate(Gate& gate) {
  gate.word.fetch_add(1, std::memory_order_release);
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&gate.word), FUTEX_WAKE_PRIVATE, INT_MAX,
            nullptr, nullptr, 0);
}

void LoopbackWorld::sleep_on(Gate& gate, uint32_t seen) {
  timespec tenth{0, 100'000'000};
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&gate.word), FUTEX_WAIT_PRIVATE, seen, &tenth,
            nullptr, 0);
}

int64_t LoopbackWorld::now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void LoopbackWorld::abort(int rank, const Error& error) {
  const std::lock_guard lock(mutex_);
  if (aborted_.load()) return;
  failed_rank_ = rank;
  original_ = error;
  told_ = {ErrorKind::kPeerLost, fmt::format("rank {} failed{}: {}", rank, place(rank), error.what),
           error.where, error.fix};
  aborted_.store(true, std::memory_order_release);
  for (auto& weak : all_channels_) {
    if (auto channel = weak.lock()) {
      open_gate(channel->posted_gate);
      open_gate(channel->finished_gate);
    }
  }
  for (const auto& crew : crews_) {
    open_gate(crew->start_gate);
    open_gate(crew->finish_gate);
  }
}

Status LoopbackWorld::check(int rank) const {
  if (!aborted_.load(std::memory_order_acquire)) return {};
  return Unexpected(rank == failed_rank_ ? original_ : told_);
}

// " in layer 5, dispatch, step 17"
std::string LoopbackWorld::place(int rank) {
  RankState& s = state(rank);
  const char* exchange = s.exchange.load();
  if (exchange[0] == '\0') return "";
  const int layer = s.layer.load();
  return fmt::format(" in {}{}, step {}", layer >= 0 ? fmt::format("layer {}, ", layer) : "",
                     exchange, s.step.load());
}

void LoopbackWorld::read_cpu_times(std::vector<int64_t>& out) {
  out.resize(states_.size());
  for (size_t r = 0; r < out.size(); ++r) out[r] = thread_cpu_ns(states_[r].thread_id.load());
}

Status LoopbackWorld::check_life(int rank, const std::vector<int64_t>& cpu_ns, int64_t waited_ms,
                                 const std::vector<bool>& needed) {
  // Whoever is furthest behind holds up the others, perhaps by way of ranks that wait for it.
  int behind = -1;
  bool any_needed = false;
  for (int r = 0; r < ranks(); ++r) {
    any_needed |= needed[static_cast<size_t>(r)];
    if (r == rank) continue;
    const auto progress = [&](int q) {
      return std::make_pair(state(q).step.load(), state(q).layer.load());
    };
    const bool earlier = behind < 0 || progress(r) < progress(behind);
    const bool same_but_needed = behind >= 0 && progress(r) == progress(behind) &&
                                 needed[static_cast<size_t>(r)] &&
                                 !needed[static_cast<size_t>(behind)];
    if (earlier || same_but_needed) behind = r;
  }
  if (behind < 0 || !any_needed) return {};
  RankState& s = state(behind);
  const int64_t before = cpu_ns[static_cast<size_t>(behind)];
  const int64_t now = thread_cpu_ns(s.thread_id.load());
  const bool ended = s.gone.load() || (s.thread_id.load() != 0 && now < 0);
  const double share =
      static_cast<double>(now - before) / (static_cast<double>(options_.deadline_ms) * 750'000.0);
  if (!ended && before >= 0 && share > kAliveShare) return {};
  const Error lost{
      ErrorKind::kPeerLost,
      fmt::format("rank {} {}{}", behind, ended ? "ended" : "stopped answering", place(behind)),
      fmt::format("rank {} waited {:.1f} s", rank, static_cast<double>(waited_ms) * 1e-3),
      "look at that rank's own messages; start the run again"};
  abort(behind, lost);
  return Unexpected(lost);
}

}  // namespace wingspan
