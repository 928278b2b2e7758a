#include "comm/mpi.h"

#include <fmt/format.h>
// The C interface alone; the old C++ one would be linked otherwise.
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "base/check.h"
#include "comm/process_life.h"
#include "tensor/buffer.h"

namespace wingspan {
namespace {

constexpr int kAbortTag = 0;          // of the control communicator
constexpr size_t kAbortBytes = 1024;  // of an abort message
constexpr int64_t kStartDeadlineMs = 600'000;
constexpr int64_t kLookMs = 1000;               // how often a long wait looks for dead processes
constexpr int kTests = 200, kTestYields = 400;  // then waiting sleeps
constexpr int kTestsShared = 10;                // where processes share cores
// A rank that waits sleeps most of the time but still tests; one that computes uses far more.
constexpr double kAwakeShare = 0.002;

volatile std::sig_atomic_t told_to_end = 0;
extern "C" void on_sigterm(int /*signal*/) { told_to_end = 1; }

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Home {
  char host[64] = {};
  int pid = 0;
};

// What a group's channels share: who the peers are, where this rank is, and how it waits.
class World {
 public:
  World(const GroupOptions& options, MPI_Comm data, MPI_Comm control)
      : options_(options), data_(data), control_(control) {
    MPI_Comm_rank(data_, &rank_);
    MPI_Comm_size(data_, &size_);
    Home mine;
    ::gethostname(mine.host, sizeof mine.host - 1);
    mine.pid = ::getpid();
    homes_.resize(static_cast<size_t>(size_));
    MPI_Allgather(&mine, sizeof mine, MPI_BYTE, homes_.data(), sizeof mine, MPI_BYTE, control_);
    const auto cores = static_cast<int>(std::thread::hardware_concurrency());
    tests_ = local_ranks() > cores ? kTestsShared : kTests;
  }
  // Communicators are not freed: that is collective, and peers may be gone.
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  MPI_Comm data() const { return data_; }
  Progress progress;

  int local_ranks() const {
    int n = 0;
    for (int r = 0; r < size_; ++r) n += is_local(r);
    return n;
  }

  // Until `ready`; `peer` is the one that is waited for.
  template <class Ready>
  Status wait(int peer, const Ready& ready) {
    for (int i = 0; i < tests_; ++i) {
      if (ready()) return {};
    }
    for (int i = 0; i < kTestYields; ++i) {
      ::sched_yield();
      if (ready()) return {};
    }
    return wait_asleep(peer, ready);
  }

  Status check() {
    if (error_) return Unexpected(*error_);
    int there = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, kAbortTag, control_, &there, &status);
    if (there == 0) return {};
    char text[kAbortBytes] = {};
    MPI_Recv(text, static_cast<int>(sizeof text) - 1, MPI_BYTE, status.MPI_SOURCE, kAbortTag,
             control_, MPI_STATUS_IGNORE);
    error_ = Error{ErrorKind::kPeerLost, text, "", ""};
    return Unexpected(*error_);
  }

  void abort(const Error& error) {
    if (told_others_) return;
    told_others_ = true;
    std::string text = error.kind == ErrorKind::kPeerLost
                           ? error.what
                           : fmt::format("rank {} failed{}: {}", rank_, place(), error.what);
    text.resize(std::min(text.size(), kAbortBytes - 1));
    if (!error_) error_ = error;
    std::vector<MPI_Request> sends;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      sends.emplace_back();
      MPI_Isend(text.data(), static_cast<int>(text.size()), MPI_BYTE, r, kAbortTag, control_,
                &sends.back());
    }
    // Small messages leave at once; a peer that is gone never takes its own.
    const int64_t end = now_ms() + 500;
    for (int all = 0; all == 0 && now_ms() < end;) {
      MPI_Testall(static_cast<int>(sends.size()), sends.data(), &all, MPI_STATUSES_IGNORE);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  bool is_local(int rank) const {
    return std::strcmp(homes_[static_cast<size_t>(rank)].host,
                       homes_[static_cast<size_t>(rank_)].host) == 0;
  }

  // " in layer 5, dispatch, step 17"
  std::string place() const {
    if (progress.exchange[0] == '\0') return "";
    return fmt::format(" in {}{}, step {}",
                       progress.layer >= 0 ? fmt::format("layer {}, ", progress.layer) : "",
                       progress.exchange, progress.step);
  }

  Status lost(int peer, const char* how, int64_t waited_ms) {
    const Error error{
        ErrorKind::kPeerLost, fmt::format("rank {} {}{}", peer, how, place()),
        fmt::format("rank {} waited {:.1f} s", rank_, static_cast<double>(waited_ms) * 1e-3),
        "look at that rank's own messages; start the run again"};
    abort(error);
    return Unexpected(error);
  }

  // A process of this machine that is no more, or −1.
  int find_ended() const {
    for (int r = 0; r < size_; ++r) {
      if (r == rank_ || !is_local(r)) continue;
      const auto life = look_at_process(homes_[static_cast<size_t>(r)].pid);
      if (life && life->ended) return r;
    }
    return -1;
  }

  // mpirun ends all processes when one has died: say which.
  Status ended_from_outside(int peer, int64_t waited_ms) {
    if (const int gone = find_ended(); gone >= 0) return lost(gone, "ended", waited_ms);
    return lost(peer, "did not answer before this run was told to end (SIGTERM)", waited_ms);
  }

  // CPU times of all local peers, so that the one that holds up everybody is named.
  std::vector<int64_t> cpu_times() const {
    std::vector<int64_t> out(static_cast<size_t>(size_), -1);
    for (int r = 0; r < size_; ++r) {
      if (r == rank_ || !is_local(r)) continue;
      const auto life = look_at_process(homes_[static_cast<size_t>(r)].pid);
      if (life) out[static_cast<size_t>(r)] = life->cpu_ms;
    }
    return out;
  }

  // A peer that is gone, stopped, or has used no processor time since `before`.
  Status check_life(int peer, const std::vector<int64_t>& before, int64_t waited_ms) {
    for (int r = 0; r < size_; ++r) {
      if (r == rank_ || !is_local(r)) continue;
      const auto life = look_at_process(homes_[static_cast<size_t>(r)].pid);
      if (!life) continue;
      if (life->ended) return lost(r, "ended", waited_ms);
      if (life->stopped) return lost(r, "stopped answering", waited_ms);
    }
    const auto at = static_cast<size_t>(peer);
    if (is_local(peer) && before[at] >= 0) {
      const auto life = look_at_process(homes_[at].pid);
      const double needed = kAwakeShare * 0.75 * static_cast<double>(options_.deadline_ms);
      // Ticks are 10 ms: fewer than two are no sign of life.
      if (life && static_cast<double>(life->cpu_ms - before[at]) > std::max(needed, 10.0))
        return {};
      // It may itself wait for a third rank, which sleeps as this one does.
      if (life && life->cpu_ms > before[at]) return {};
    }
    return lost(peer, "stopped answering", waited_ms);
  }

  template <class Ready>
  Status wait_asleep(int peer, const Ready& ready) {
    const bool in_step =
        progress.exchange[0] != '\0' && std::strcmp(progress.exchange, "start") != 0;
    const int64_t deadline = is_local(peer) || in_step ? options_.deadline_ms : kStartDeadlineMs;
    const int64_t begin = now_ms();
    int64_t judged = begin, looked = begin;
    std::vector<int64_t> before;
    for (int64_t laps = 0;; ++laps) {
      if (ready()) return {};
      std::this_thread::sleep_for(std::chrono::microseconds(laps < 200 ? 20 : 200));
      if (laps % 16 != 0) continue;
      WS_RETURN_IF_ERROR(check());
      const int64_t now = now_ms();
      if (told_to_end != 0) return ended_from_outside(peer, now - begin);
      if (now - looked > kLookMs) {
        looked = now;
        if (const int gone = find_ended(); gone >= 0) return lost(gone, "ended", now - begin);
      }
      if (before.empty() && now - judged > deadline / 4) before = cpu_times();
      if (now - judged <= deadline) continue;
      WS_RETURN_IF_ERROR(check_life(peer, before, now - begin));
      judged = now;
      before.clear();
    }
  }

  GroupOptions options_;
  MPI_Comm data_, control_;
  int rank_ = 0, size_ = 1;
  int tests_ = kTests;
  std::vector<Home> homes_;
  std::optional<Error> error_;
  bool told_others_ = false;
};

// Receives are posted before their senders can send, into the regions themselves.
class MpiChannel final : public Channel {
 public:
  MpiChannel(std::shared_ptr<World> world, size_t capacity, int tag)
      : world_(std::move(world)),
        capacity_((capacity + 63) / 64 * 64),
        tag_(tag),
        memory_(static_cast<size_t>(world_->size()) * 4 * capacity_),
        peers_(static_cast<size_t>(world_->size())) {
    for (int half = 0; half < 2; ++half) {
      for (int peer = 0; peer < world_->size(); ++peer) receive(peer, half);
    }
  }
  ~MpiChannel() override {
    // After a failure nothing of MPI may be waited for; the process is about to end.
    if (!world_->check()) return;
    for (Peer& p : peers_) {
      for (int h = 0; h < 2; ++h) {
        if (p.receives[h] != MPI_REQUEST_NULL) MPI_Cancel(&p.receives[h]);
        MPI_Wait(&p.receives[h], MPI_STATUS_IGNORE);
        MPI_Wait(&p.sends[h], MPI_STATUS_IGNORE);
      }
    }
  }

  size_t capacity() const override { return capacity_; }

  Expected<std::span<std::byte>> send_region(int peer) override {
    WS_RETURN_IF_ERROR(wait_sent(peer));
    return std::span<std::byte>(out_region(peer, half()), capacity_);
  }

  Status post(int peer, size_t bytes) override {
    WS_CHECK(bytes <= capacity_, "{} > {}", bytes, capacity_);
    WS_RETURN_IF_ERROR(wait_sent(peer));
    Peer& p = peers_[static_cast<size_t>(peer)];
    ++posts_;
    if (peer == world_->rank()) {
      p.received[half()] = bytes;
      return {};
    }
    MPI_Isend(out_region(peer, half()), static_cast<int>(bytes), MPI_BYTE, peer, tag_,
              world_->data(), &p.sends[half()]);
    return {};
  }

  Expected<std::span<const std::byte>> wait(int peer) override {
    WS_CHECK(posts_ == world_->size(), "wait before this rank posted to all peers");
    Peer& p = peers_[static_cast<size_t>(peer)];
    const int h = half();
    if (peer == world_->rank()) {
      return std::span<const std::byte>(out_region(peer, h), p.received[h]);
    }
    if (p.receives[h] != MPI_REQUEST_NULL) {
      WS_RETURN_IF_ERROR(world_->wait(peer, [&] {
        int done = 0;
        MPI_Status status;
        MPI_Test(&p.receives[h], &done, &status);
        if (done == 0) return false;
        int count = 0;
        MPI_Get_count(&status, MPI_BYTE, &count);
        p.received[h] = static_cast<size_t>(count);
        return true;
      }));
    }
    return std::span<const std::byte>(in_region(peer, h), p.received[h]);
  }

  Status wait_all() override {
    for (int peer = 0; peer < world_->size(); ++peer) WS_RETURN_IF_ERROR(wait(peer));
    return {};
  }

  Status finish() override {
    WS_CHECK(posts_ == world_->size(), "finish before this rank posted to all peers");
    // What was not asked for must be taken all the same before the region takes the next round but
    // one.
    WS_RETURN_IF_ERROR(wait_all());
    const int h = half();
    for (int peer = 0; peer < world_->size(); ++peer) receive(peer, h);
    ++round_;
    posts_ = 0;
    return {};
  }

 private:
  struct Peer {
    MPI_Request receives[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    MPI_Request sends[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    size_t received[2] = {0, 0};
  };

  int half() const { return static_cast<int>(round_ % 2); }
  std::byte* region(int index) {
    return memory_.as<std::byte>() + static_cast<size_t>(index) * capacity_;
  }
  std::byte* in_region(int peer, int h) { return region(peer * 4 + h); }
  std::byte* out_region(int peer, int h) { return region(peer * 4 + 2 + h); }

  void receive(int peer, int h) {
    if (peer == world_->rank()) return;
    MPI_Irecv(in_region(peer, h), static_cast<int>(capacity_), MPI_BYTE, peer, tag_, world_->data(),
              &peers_[static_cast<size_t>(peer)].receives[h]);
  }

  // The region's message of the round before the last has left.
  Status wait_sent(int peer) {
    MPI_Request& request = peers_[static_cast<size_t>(peer)].sends[half()];
    if (request == MPI_REQUEST_NULL) return {};
    return world_->wait(peer, [&] {
      int done = 0;
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      return done != 0;
    });
  }

  std::shared_ptr<World> world_;
  size_t capacity_;
  int tag_;
  Buffer memory_;  // [peer][in, in, out, out][capacity]
  std::vector<Peer> peers_;
  int64_t round_ = 0;
  int posts_ = 0;
};

class MpiGroup final : public Group {
 public:
  explicit MpiGroup(std::shared_ptr<World> world) : world_(std::move(world)) {}
  int rank() const override { return world_->rank(); }
  int size() const override { return world_->size(); }
  const char* transport() const override { return "mpi"; }
  int local_ranks() const override { return 1; }

  Expected<std::unique_ptr<Channel>> open_channel(size_t capacity, std::string name) override {
    if (capacity > static_cast<size_t>(INT_MAX) - 64) {
      return invalid_input(
          fmt::format("{} bytes for each peer are more than MPI sends at once", capacity), name,
          "lower --prefill-chunk");
    }
    return std::make_unique<MpiChannel>(world_, capacity, opened_++);
  }

  Expected<std::unique_ptr<Crew>> open_crew(size_t, std::string) override {
    return std::unique_ptr<Crew>();  // processes do not share memory
  }

  Status barrier() override {
    if (!barrier_) {
      WS_ASSIGN(barrier_, open_channel(64, "barrier"));
    }
    for (int peer = 0; peer < size(); ++peer) WS_RETURN_IF_ERROR(barrier_->post(peer, 0));
    WS_RETURN_IF_ERROR(barrier_->wait_all());
    return barrier_->finish();
  }

  void set_progress(const Progress& progress) override { world_->progress = progress; }
  Status check() override { return world_->check(); }
  void abort(const Error& error) override { world_->abort(error); }

 private:
  std::shared_ptr<World> world_;
  int opened_ = 0;
  std::unique_ptr<Channel> barrier_;
};

}  // namespace

bool mpi_built_in() { return true; }

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string all(text, static_cast<size_t>(length));
  return all.substr(0, all.find(','));
}

Expected<std::unique_ptr<Group>> make_mpi(const GroupOptions& options) {
  int initialised = 0;
  MPI_Initialized(&initialised);
  if (initialised == 0) {
    int provided = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
        provided < MPI_THREAD_FUNNELED) {
      return failed("MPI does not start", "--transport mpi", "check mpirun and its environment");
    }
    std::signal(SIGTERM, on_sigterm);
  }
  MPI_Comm data = MPI_COMM_NULL, control = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &data);
  MPI_Comm_dup(MPI_COMM_WORLD, &control);
  return std::make_unique<MpiGroup>(std::make_shared<World>(options, data, control));
}

void shut_down_mpi(bool failed, int exit_code) {
  int initialised = 0;
  MPI_Initialized(&initialised);
  if (initialised == 0) return;
  if (failed) {
    std::fflush(nullptr);
    std::_Exit(exit_code);
  }
  MPI_Finalize();
}

}  // namespace wingspan
