// A fixed team of threads for data-parallel loops inside one rank.
//
// Which thread runs which index never changes a result: callers give each index its own outputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>

namespace wingspan {

// A non-owning reference to a callable, so that a loop in a steady step allocates nothing.
class LoopBody {
 public:
  template <class F>
  LoopBody(const F& f)  // NOLINT(google-explicit-constructor): a call site passes a lambda
      : object_(&f), call_([](const void* o, int64_t i) { (*static_cast<const F*>(o))(i); }) {}
  void operator()(int64_t index) const { call_(object_, index); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t);
};

class Pool {
 public:
  // `threads` ≥ 1 counts the caller: 1 starts none, and run() is then a plain loop. `on_start` runs
  // on each new thread with its index ≥ 1 (pinning, floating-point mode). Throws std::system_error
  // if the system refuses a thread; none is left running then.
  explicit Pool(int threads, const std::function<void(int)>& on_start = {});
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return threads_; }
  // Calls body(i) once for each i in [0, count), and returns when all are done. Not reentrant; one
  // caller at a time. Idle threads spin briefly, then sleep. If a call throws, indices that no
  // thread has begun are skipped, and the first exception is thrown here.
  void run(int64_t count, LoopBody body);

 private:
  struct Shared;
  int threads_;
  std::unique_ptr<Shared> shared_;
};

// Splits [0, count) into ranges of at least `grain` indices, at most one a thread, and calls
// body(part, begin, end) for each; part < threads.
template <class Body>
void run_ranges(Pool& pool, int64_t count, int64_t grain, const Body& body) {
  const int64_t parts = std::min<int64_t>(pool.threads(), count / std::max<int64_t>(grain, 1));
  if (parts <= 1) {
    if (count > 0) body(int64_t{0}, int64_t{0}, count);
    return;
  }
  pool.run(parts, [&](int64_t i) { body(i, count * i / parts, count * (i + 1) / parts); });
}

}  // namespace wingspan
