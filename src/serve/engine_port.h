// The seam between the server's threads and rank 0's: requests go in as orders, committed steps
// come out as reports. Bounded on both sides; the engine never waits for a client.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "engine/messages.h"

namespace wingspan::serve {

// Gets what concerns one request. Called on the server's text thread, never on the engine's, and
// without a lock of the port: a listener may call the port.
class RequestListener {
 public:
  virtual ~RequestListener() = default;
  virtual void on_start(const StartEvent& /*event*/) {}
  virtual void on_preempted() {}
  virtual void on_token(const TokenEvent& event) = 0;
  // Once, after the last token: the request takes no further part. kCancelled also where the
  // queue's time ran out or the server ended (`what` says so); kNone where the engine failed,
  // `what` being its error.
  virtual void on_end(FinishReason reason, const std::string& what) = 0;
  // After all events of one step that concerned this request, its end included: the time to write.
  virtual void on_step_end() {}
};

struct PortLimits {
  int64_t max_waiting = 1024;  // requests that have no row yet; more are refused
  double queue_timeout_s = 0;  // waiting for the first row; 0: no limit
  int64_t max_reports =
      256;  // steps that the text thread may be behind; then the engine waits for it
};

class EnginePort final : public OrderSource {
 public:
  // `wake`: called after something was queued for drain(), at most once until drain() runs; asks
  // the text thread to call drain(). Any thread.
  EnginePort(const PortLimits& limits, std::function<void()> wake,
             const Clock& clock = system_clock());
  ~EnginePort() override;

  // Any thread. The id of the request, or an error: kInvalidInput (try again later) when the queue
  // is full or the server drains, kFailed when the engine has failed. The caller has checked the
  // request (check_request).
  Expected<RequestId> submit(Request request, std::shared_ptr<RequestListener> listener);
  // Several together or none (n choices, several prompts).
  Expected<std::vector<RequestId>> submit_all(
      std::vector<std::pair<Request, std::shared_ptr<RequestListener>>> requests);
  // Any thread. No further events for it but on_end(kCancelled), which is not called from here;
  // an event that the text thread is handing out at the moment may still be. Ids that ended are
  // ignored.
  void cancel(RequestId id);
  // Whether as many wait as may.
  bool full() const;
  // No new requests; what is accepted finishes.
  void drain_begin();
  bool idle() const;  // nothing waits or runs, and no event waits to be handed out
  // The engine's group ends with its next step; open requests get on_end(kCancelled) after it.
  void stop();

  // Rank 0's thread. An idle engine waits here, but not before its first step nor in a step that
  // orders were given for: their reports would come a second late.
  void next(Orders& orders, bool idle) override;
  void on_report(StepReport&& report);
  // The engine has ended with an error: every open request gets on_end(kNone, what). Once; any
  // thread.
  void on_failure(const std::string& what);

  // The text thread: hands all queued events to their listeners.
  void drain();

  // For health and metrics; any thread.
  struct Snapshot {
    int64_t waiting = 0, running = 0, step = 0;
    int64_t last_step_ns = 0;  // of the port's clock, at the last report; 0: there was none
    bool failed = false, draining = false;
    bool stopped = false;  // the last step is done
    std::string failure;
  };
  Snapshot snapshot() const;
  // Each report, before its events are dispatched; on the text thread (metrics, dashboard). Set
  // before the engine starts.
  void observe(std::function<void(const StepReport&)> observer);

 private:
  // One accepted request until its end.
  struct Open {
    RequestId id = 0;
    std::shared_ptr<RequestListener> listener;
    int64_t submitted_ns = 0;
    bool ordered = false;            // the engine knows it
    bool running = false;            // has rows, or had some and was preempted
    std::atomic<bool> quiet{false};  // cancelled: on_end is queued, and no other event may follow
    bool touched = false, ended = false;  // the text thread's: this step, and for ever
  };
  // An end that doesn't come from a step.
  struct End {
    std::shared_ptr<Open> open;
    FinishReason reason;
    std::string what;
  };
  struct Item {
    std::optional<StepReport> report;
    std::vector<End> ends;
  };
  using OpenMap = std::unordered_map<RequestId, std::shared_ptr<Open>>;

  Status check_admission(size_t count) const;
  void end_early(OpenMap::iterator found, FinishReason reason, std::string what);
  void end_all(FinishReason reason, const std::string& what);
  void expire(int64_t now_ns);
  void leave(Open& open);
  void notify(std::unique_lock<std::mutex>& lock);
  void dispatch(const StepReport& report);
  void dispatch_end(Open& open, FinishReason reason, const std::string& what);
  std::shared_ptr<Open> find_open(RequestId id) const;

  const PortLimits limits_;
  const std::function<void()> wake_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable orders_changed_;  // rank 0 waits for work
  std::condition_variable items_taken_;     // rank 0 waits for the text thread
  OpenMap open_;
  std::set<std::pair<int64_t, RequestId>> waiting_;  // by time of submission
  Orders orders_;                                    // for the next step
  std::deque<Item> items_;
  int64_t reports_queued_ = 0;
  bool settled_ = false;      // the last call of next() gave no orders
  bool woken_ = false;        // wake_ was called since the last drain()
  bool dispatching_ = false;  // drain() has taken items and not finished
  RequestId next_id_ = 1;
  Snapshot state_;
  std::vector<std::function<void(const StepReport&)>> observers_;
};

}  // namespace wingspan::serve
