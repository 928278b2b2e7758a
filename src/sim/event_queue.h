// Virtual time: the clock of a simulation, and what is to happen when. Events at the same time come
// in the order in which they were added, so a run depends on its input alone.
#pragma once

#include <cstdint>
#include <queue>
#include <vector>

#include "base/check.h"
#include "base/clock.h"

namespace wingspan {

enum class SimEventKind : uint8_t { kArrival, kPrefillEnd, kHandoffEnd, kStepEnd };

struct SimEvent {
  int64_t at_ns = 0;
  uint64_t order = 0;  // given by the queue
  SimEventKind kind = SimEventKind::kArrival;
  int who = 0;  // a request; kStepEnd: a decode instance
};

class EventQueue : public Clock {
 public:
  int64_t now_ns() const override { return now_ns_; }
  bool empty() const { return events_.empty(); }
  // `at_ns` is not in the past.
  void add(int64_t at_ns, SimEventKind kind, int who) {
    WS_CHECK(at_ns >= now_ns_, "{} is before {}", at_ns, now_ns_);
    events_.push({at_ns, next_++, kind, who});
  }
  // Takes the next event and moves the clock to it.
  SimEvent next() {
    WS_CHECK(!events_.empty());
    const SimEvent event = events_.top();
    events_.pop();
    now_ns_ = event.at_ns;
    return event;
  }

 private:
  struct Later {
    bool operator()(const SimEvent& a, const SimEvent& b) const {
      return a.at_ns != b.at_ns ? a.at_ns > b.at_ns : a.order > b.order;
    }
  };
  std::priority_queue<SimEvent, std::vector<SimEvent>, Later> events_;
  uint64_t next_ = 0;
  int64_t now_ns_ = 0;
};

}  // namespace wingspan
