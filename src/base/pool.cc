#include "base/pool.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"

namespace wingspan {
namespace {

constexpr int kSpins = 2000;  // about 20 µs: longer than the gap between two loops of a step

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits until `word` differs from `old`.
uint32_t wait_change(const std::atomic<uint32_t>& word, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    const uint32_t now = word.load(std::memory_order_acquire);
    if (now != old) return now;
    pause_briefly();
  }
  word.wait(old, std::memory_order_acquire);
  return word.load(std::memory_order_acquire);
}

}  // namespace

struct Pool::Shared {
  std::atomic<uint32_t> round{0};
  std::atomic<uint32_t> finished{0};
  std::atomic<int64_t> next{0};
  int64_t count = 0;
  const LoopBody* body = nullptr;
  bool stop = false;
  std::vector<std::thread> team;
  std::mutex mutex;
  std::exception_ptr failure;  // the first of the loop at hand

  ~Shared() {
    stop = true;
    round.fetch_add(1, std::memory_order_release);
    round.notify_all();
    for (auto& t : team) t.join();
  }

  void work() {
    for (;;) {
      const int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      (*body)(i);
    }
  }

  // An exception (memory, mostly) is for the caller of run(); what is left of the loop is skipped.
  void work_or_keep() {
    try {
      work();
    } catch (...) {
      next.store(count, std::memory_order_relaxed);
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  }

  void serve() {
    uint32_t seen = 0;
    for (;;) {
      seen = wait_change(round, seen);
      if (stop) return;
      work_or_keep();
      finished.fetch_add(1, std::memory_order_release);
      finished.notify_one();
    }
  }
};

Pool::Pool(int threads, const std::function<void(int)>& on_start) : threads_(threads) {
  WS_CHECK(threads >= 1, "threads {}", threads);
  if (threads == 1) return;
  shared_ = std::make_unique<Shared>();
  for (int t = 1; t < threads; ++t) {
    // Where the system refuses one, the destructor of Shared ends those that run.
    shared_->team.emplace_back([shared = shared_.get(), t, on_start] {
      if (on_start) on_start(t);
      shared->serve();
    });
  }
}

Pool::~Pool() = default;

void Pool::run(int64_t count, LoopBody body) {
  if (!shared_ || count <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  Shared& s = *shared_;
  s.body = &body;
  s.count = count;
  s.next.store(0, std::memory_order_relaxed);
  s.finished.store(0, std::memory_order_relaxed);
  s.round.fetch_add(1, std::memory_order_release);
  s.round.notify_all();
  s.work_or_keep();
  const auto others = static_cast<uint32_t>(threads_ - 1);
  for (uint32_t done = s.finished.load(std::memory_order_acquire); done != others;) {
    done = wait_change(s.finished, done);
  }
  if (s.failure) std::rethrow_exception(std::exchange(s.failure, nullptr));
}

}  // namespace wingspan
