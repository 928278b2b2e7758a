#include "serve/responder.h"

#include <utility>

#include "base/check.h"

namespace wingspan::serve {
namespace {

class HandlerResponder final : public Responder {
 public:
  explicit HandlerResponder(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~HandlerResponder() override { exchange_->abandoned(); }
  HandlerResponder(const HandlerResponder&) = delete;
  HandlerResponder& operator=(const HandlerResponder&) = delete;
  void reply(HttpResponse response) override { exchange_->reply(std::move(response)); }
  void begin_stream() override { exchange_->begin_stream(); }
  void events(const std::vector<std::string>& data) override { exchange_->events(data); }
  void end_stream() override { exchange_->end_stream(); }
  void on_gone(std::function<void()> gone) override { exchange_->on_gone(std::move(gone)); }

 private:
  const std::shared_ptr<Exchange> exchange_;
};

}  // namespace

std::shared_ptr<Responder> make_responder(std::shared_ptr<Exchange> exchange) {
  return std::make_shared<HandlerResponder>(std::move(exchange));
}

Exchange::Exchange(std::string request_id, const AnswerFraming& framing, size_t max_bytes,
                   Ready ready)
    : request_id_(std::move(request_id)),
      max_bytes_(max_bytes),
      ready_(std::move(ready)),
      framing_(framing) {}

// Leaves the lock; tells the connection that there is something to take.
void Exchange::notify(std::unique_lock<std::mutex>& lock) {
  // A callback of the handler often owns the handler's state, which owns this: a circle that ends
  // here. It is destroyed outside of the lock.
  std::function<void()> dropped;
  if (stage_ == Stage::kComplete) dropped.swap(gone_);
  const bool first = !std::exchange(announced_, true);
  lock.unlock();
  if (first) ready_(shared_from_this());
}

Exchange::Output Exchange::take() {
  const std::lock_guard lock(mutex_);
  announced_ = false;
  std::string bytes = std::exchange(output_.bytes, {});
  Output taken = output_;
  taken.bytes = std::move(bytes);
  return taken;
}

void Exchange::written(size_t bytes) {
  const std::lock_guard lock(mutex_);
  waiting_bytes_ -= std::min(bytes, waiting_bytes_);
}

void Exchange::client_gone() {
  std::function<void()> gone;
  {
    const std::lock_guard lock(mutex_);
    if (stage_ == Stage::kComplete || stage_ == Stage::kGone) return;
    stage_ = Stage::kGone;
    output_.bytes.clear();
    gone.swap(gone_);
    told_gone_ = static_cast<bool>(gone);
  }
  if (gone) gone();
}

void Exchange::late_gone() {
  std::function<void()> gone;
  {
    const std::lock_guard lock(mutex_);
    if (stage_ != Stage::kGone || told_gone_) return;
    gone.swap(gone_);
    told_gone_ = static_cast<bool>(gone);
  }
  if (gone) gone();
}

void Exchange::close_after() {
  const std::lock_guard lock(mutex_);
  framing_.keep_alive = false;
}

void Exchange::reply(HttpResponse response) {
  std::unique_lock lock(mutex_);
  if (stage_ != Stage::kWaiting) return;
  stage_ = Stage::kComplete;
  output_.status = response.status;
  output_.bytes = answer_bytes(response, request_id_, framing_);
  output_.complete = true;
  output_.close = !framing_.keep_alive;
  waiting_bytes_ += output_.bytes.size();
  notify(lock);
}

void Exchange::begin_stream() {
  const std::lock_guard lock(mutex_);
  if (stage_ == Stage::kWaiting) stage_ = Stage::kStream;
}

void Exchange::begin_stream_locked() {
  if (std::exchange(header_sent_, true)) return;
  output_.status = 200;
  output_.bytes += stream_header(request_id_, framing_);
  output_.close = !framing_.keep_alive || framing_.http_1_0;
}

void Exchange::events(const std::vector<std::string>& data) {
  std::unique_lock lock(mutex_);
  if (stage_ != Stage::kStream || output_.overflow || data.empty()) return;
  const size_t before = output_.bytes.size();
  begin_stream_locked();
  append_events(output_.bytes, data, !framing_.http_1_0);
  waiting_bytes_ += output_.bytes.size() - before;
  output_.overflow = waiting_bytes_ > max_bytes_;
  notify(lock);
}

void Exchange::end_stream() {
  std::unique_lock lock(mutex_);
  if (stage_ != Stage::kStream) return;
  stage_ = output_.overflow ? Stage::kStream : Stage::kComplete;
  if (!output_.overflow) {
    const size_t before = output_.bytes.size();
    begin_stream_locked();
    append_stream_end(output_.bytes, !framing_.http_1_0);
    waiting_bytes_ += output_.bytes.size() - before;
    output_.complete = true;
  }
  notify(lock);
}

void Exchange::on_gone(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (stage_ == Stage::kComplete || told_gone_) return;
    gone_ = std::move(gone);
    if (stage_ != Stage::kGone) return;
  }
  // The client had left before the handler could say whom to tell.
  if (ready_(shared_from_this())) return;
  const std::lock_guard lock(mutex_);
  gone_ = nullptr;
}

void Exchange::abandoned() {
  std::unique_lock lock(mutex_);
  if (stage_ == Stage::kWaiting) {
    lock.unlock();
    reply(error_answer(500, "the request ended without an answer"));
    return;
  }
  if (stage_ != Stage::kStream || output_.overflow) return;
  lock.unlock();
  events({error_event(500, "the request ended before its answer was complete")});
  end_stream();
}

}  // namespace wingspan::serve
