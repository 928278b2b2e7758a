#include "serve/engine_port.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/check.h"

namespace wingspan::serve {

EnginePort::EnginePort(const PortLimits& limits, std::function<void()> wake, const Clock& clock)
    : limits_(limits), wake_(std::move(wake)), clock_(clock) {}
EnginePort::~EnginePort() = default;

// Leaves the lock; asks the text thread to drain, unless it was asked already.
void EnginePort::notify(std::unique_lock<std::mutex>& lock) {
  const bool first = !items_.empty() && !std::exchange(woken_, true);
  lock.unlock();
  if (first && wake_) wake_();
}

Status EnginePort::check_admission(size_t count) const {
  if (state_.failed) return failed("the engine has failed: " + state_.failure);
  if (state_.draining || state_.stopped) {
    return invalid_input("the server is stopping", "", "send this elsewhere");
  }
  if (static_cast<int64_t>(waiting_.size() + count) > limits_.max_waiting) {
    return invalid_input(fmt::format("{} requests wait already, of at most {}", waiting_.size(),
                                     limits_.max_waiting),
                         "", "try again later");
  }
  return {};
}

Expected<RequestId> EnginePort::submit(Request request, std::shared_ptr<RequestListener> listener) {
  std::vector<std::pair<Request, std::shared_ptr<RequestListener>>> one;
  one.emplace_back(std::move(request), std::move(listener));
  WS_ASSIGN(const std::vector<RequestId> ids, submit_all(std::move(one)));
  return ids.front();
}

Expected<std::vector<RequestId>> EnginePort::submit_all(
    std::vector<std::pair<Request, std::shared_ptr<RequestListener>>> requests) {
  const int64_t now_ns = clock_.now_ns();
  std::vector<RequestId> ids;
  ids.reserve(requests.size());
  {
    const std::lock_guard lock(mutex_);
    WS_RETURN_IF_ERROR(check_admission(requests.size()));
    for (auto& entry : requests) {
      WS_CHECK(entry.second != nullptr);
      auto open = std::make_shared<Open>();
      open->id = next_id_++;
      open->listener = std::move(entry.second);
      open->submitted_ns = now_ns;
      ids.push_back(open->id);
      orders_.add.push_back({open->id, std::move(entry.first)});
      waiting_.emplace(now_ns, open->id);
      open_.emplace(open->id, std::move(open));
    }
  }
  orders_changed_.notify_one();
  return ids;
}

// It neither waits nor runs from now on.
void EnginePort::leave(Open& open) {
  waiting_.erase({open.submitted_ns, open.id});
  if (std::exchange(open.running, false)) --state_.running;
}

// Ends a request that the engine has not ended: takes it out of the orders, or orders its end.
void EnginePort::end_early(OpenMap::iterator found, FinishReason reason, std::string what) {
  std::shared_ptr<Open> open = std::move(found->second);
  open_.erase(found);
  leave(*open);
  open->quiet = true;
  if (open->ordered) {
    orders_.cancel.push_back(open->id);
  } else {
    std::erase_if(orders_.add, [&](const Submit& add) { return add.id == open->id; });
  }
  if (items_.empty() || items_.back().report.has_value()) items_.emplace_back();
  items_.back().ends.push_back({std::move(open), reason, std::move(what)});
}

void EnginePort::cancel(RequestId id) {
  std::unique_lock lock(mutex_);
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  end_early(found, FinishReason::kCancelled, "");
  orders_changed_.notify_one();
  notify(lock);
}

bool EnginePort::full() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(waiting_.size()) >= limits_.max_waiting;
}

void EnginePort::drain_begin() {
  const std::lock_guard lock(mutex_);
  state_.draining = true;
}

bool EnginePort::idle() const {
  const std::lock_guard lock(mutex_);
  return open_.empty() && items_.empty() && !dispatching_;
}

void EnginePort::stop() {
  {
    const std::lock_guard lock(mutex_);
    state_.draining = true;
    orders_.stop = true;
  }
  orders_changed_.notify_one();
  items_taken_.notify_all();
}

// Ends what has waited too long for its first row.
void EnginePort::expire(int64_t now_ns) {
  if (limits_.queue_timeout_s <= 0) return;
  while (!waiting_.empty() && seconds(waiting_.begin()->first, now_ns) >= limits_.queue_timeout_s) {
    end_early(open_.find(waiting_.begin()->second), FinishReason::kCancelled,
              fmt::format("the request waited longer than {} s for its turn; try again later",
                          limits_.queue_timeout_s));
  }
}

void EnginePort::next(Orders& orders, bool idle) {
  std::unique_lock lock(mutex_);
  if (idle && settled_) {
    orders_changed_.wait_for(lock, std::chrono::seconds(1),
                             [this] { return !orders_.empty() || state_.failed; });
  }
  expire(clock_.now_ns());
  for (const Submit& add : orders_.add) {
    const auto open = open_.find(add.id);
    WS_CHECK(open != open_.end(), "request {}", add.id);
    open->second->ordered = true;
  }
  orders.add = std::exchange(orders_.add, {});
  orders.cancel = std::exchange(orders_.cancel, {});
  orders.stop = orders_.stop;
  settled_ = orders.empty();
  notify(lock);
}

void EnginePort::on_report(StepReport&& report) {
  std::unique_lock lock(mutex_);
  // The text thread doesn't wait for clients, so this waits only while that thread is overloaded.
  items_taken_.wait(lock, [this] {
    return reports_queued_ < limits_.max_reports || orders_.stop || state_.failed;
  });
  state_.step = report.step;
  state_.last_step_ns = clock_.now_ns();
  const auto find = [this](RequestId id) {
    const auto found = open_.find(id);
    return found == open_.end() ? nullptr : found->second.get();
  };
  for (const StartEvent& start : report.started) {
    Open* open = find(start.id);
    if (open == nullptr || open->running) continue;  // again after a preemption
    waiting_.erase({open->submitted_ns, open->id});
    open->running = true;
    ++state_.running;
  }
  for (const TokenEvent& token : report.tokens) {
    if (token.finish == FinishReason::kNone) continue;
    if (Open* open = find(token.id)) leave(*open);
  }
  for (const EndEvent& end : report.ended) {
    if (Open* open = find(end.id)) leave(*open);
  }
  const bool last = report.last;
  items_.emplace_back();
  items_.back().report = std::move(report);
  ++reports_queued_;
  if (last) {
    state_.stopped = true;
    end_all(FinishReason::kCancelled, "the server is stopping");
  }
  notify(lock);
}

// After all that is queued: what the queue already ends keeps that end.
void EnginePort::end_all(FinishReason reason, const std::string& what) {
  orders_.add.clear();
  orders_.cancel.clear();
  items_.emplace_back();
  std::vector<End>& ends = items_.back().ends;
  for (auto& [id, open] : open_) {
    leave(*open);
    ends.push_back({open, reason, what});
  }
  std::sort(ends.begin(), ends.end(),
            [](const End& a, const End& b) { return a.open->id < b.open->id; });
}

void EnginePort::on_failure(const std::string& what) {
  std::unique_lock lock(mutex_);
  if (state_.failed || state_.stopped) return;
  state_.failed = true;
  state_.failure = what;
  end_all(FinishReason::kNone, what);
  items_taken_.notify_all();
  orders_changed_.notify_one();
  notify(lock);
}

void EnginePort::drain() {
  size_t count = 0;
  std::vector<std::function<void(const StepReport&)>> observers;
  {
    const std::lock_guard lock(mutex_);
    woken_ = false;
    dispatching_ = true;
    count = items_.size();  // what comes meanwhile wakes again, so that others get their turn
    observers = observers_;
  }
  for (; count > 0; --count) {
    Item item;
    {
      const std::lock_guard lock(mutex_);
      item = std::move(items_.front());
      items_.pop_front();
      if (item.report) --reports_queued_;
    }
    items_taken_.notify_one();
    if (item.report) {
      for (const auto& observer : observers) observer(*item.report);
      dispatch(*item.report);
    }
    for (const End& end : item.ends) {
      dispatch_end(*end.open, end.reason, end.what);
      end.open->listener->on_step_end();
    }
  }
  const std::lock_guard lock(mutex_);
  dispatching_ = false;
}

std::shared_ptr<EnginePort::Open> EnginePort::find_open(RequestId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = open_.find(id);
  return found == open_.end() ? nullptr : found->second;
}

void EnginePort::dispatch_end(Open& open, FinishReason reason, const std::string& what) {
  if (std::exchange(open.ended, true)) return;
  {
    const std::lock_guard lock(mutex_);
    open_.erase(open.id);
  }
  open.listener->on_end(reason, what);
}

void EnginePort::dispatch(const StepReport& report) {
  std::vector<std::shared_ptr<Open>> touched;
  // Calls back where the request is open and was not cancelled, also by what was called before.
  const auto with = [&](RequestId id, const auto& call) {
    const std::shared_ptr<Open> open = find_open(id);
    if (open == nullptr || open->quiet) return;
    if (!std::exchange(open->touched, true)) touched.push_back(open);
    call(*open);
  };
  for (const StartEvent& start : report.started) {
    with(start.id, [&](Open& open) { open.listener->on_start(start); });
  }
  for (const RequestId id : report.preempted) {
    with(id, [](Open& open) { open.listener->on_preempted(); });
  }
  for (const TokenEvent& token : report.tokens) {
    with(token.id, [&](Open& open) {
      open.listener->on_token(token);
      if (token.finish != FinishReason::kNone && !open.quiet) dispatch_end(open, token.finish, "");
    });
  }
  for (const EndEvent& end : report.ended) {
    with(end.id, [&](Open& open) { dispatch_end(open, end.reason, end.what); });
  }
  for (const auto& open : touched) {
    open->touched = false;
    open->listener->on_step_end();
  }
}

EnginePort::Snapshot EnginePort::snapshot() const {
  const std::lock_guard lock(mutex_);
  Snapshot out = state_;
  out.waiting = static_cast<int64_t>(waiting_.size());
  return out;
}

void EnginePort::observe(std::function<void(const StepReport&)> observer) {
  const std::lock_guard lock(mutex_);
  observers_.push_back(std::move(observer));
}

}  // namespace wingspan::serve
