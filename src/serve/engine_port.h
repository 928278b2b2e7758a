// The seam between the server's threads and rank 0's: requests go in as orders, committed steps come
// out as reports. Bounded on both sides; the engine never waits for a client.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "engine/messages.h"

namespace wingspan::serve {

// Gets what concerns one request. Called on the server's text thread, never on the engine's.
class RequestListener {
 public:
  virtual ~RequestListener() = default;
  virtual void on_start(const StartEvent& /*event*/) {}
  virtual void on_preempted() {}
  virtual void on_token(const TokenEvent& event) = 0;
  // Once, after the last token: the request takes no further part. kCancelled also where the queue's
  // time ran out (`what` says so); kNone where the engine failed, `what` being its error.
  virtual void on_end(FinishReason reason, const std::string& what) = 0;
  // After all events of one step that concerned this request: the time to write.
  virtual void on_step_end() {}
};

struct PortLimits {
  int64_t max_waiting = 1024;      // requests that have no row yet; more are refused
  double queue_timeout_s = 0;      // waiting for the first row; 0: no limit
  int64_t max_reports = 256;       // steps that the text thread may be behind
};

class EnginePort final : public OrderSource {
 public:
  // `wake`: called after a report was queued, at most once until drain() runs; asks the text thread
  // to call drain().
  EnginePort(const PortLimits& limits, std::function<void()> wake);

  // Any thread. The id of the request, or an error (kInvalidInput: `retry`able overload) when the
  // queue is full or the server drains. The caller has checked the request (check_request).
  Expected<RequestId> submit(Request request, std::shared_ptr<RequestListener> listener);
  // Several together or none (n choices, several prompts).
  Expected<std::vector<RequestId>> submit_all(
      std::vector<std::pair<Request, std::shared_ptr<RequestListener>>> requests);
  // Any thread. No further events for it but on_end(kCancelled).
  void cancel(RequestId id);
  // No new requests; what is accepted finishes.
  void drain_begin();
  bool idle() const;  // nothing waits or runs
  // The engine's group ends with its next step.
  void stop();

  // Rank 0's thread.
  void next(Orders& orders, bool idle) override;
  void on_report(StepReport&& report);
  // The engine has ended with an error: every open request gets on_end(kNone, what).
  void on_failure(const std::string& what);

  // The text thread: hands all queued events to their listeners.
  void drain();

  // For health and metrics; any thread.
  struct Snapshot {
    int64_t waiting = 0, running = 0, step = 0;
    int64_t last_step_ns = 0;  // monotonic clock; the last report
    bool failed = false, draining = false;
    std::string failure;
  };
  Snapshot snapshot() const;
  // Each report, before its events are dispatched; on the text thread (metrics, dashboard).
  void observe(std::function<void(const StepReport&)> observer);
};

}  // namespace wingspan::serve
