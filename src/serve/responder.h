// The server's Responder: takes an answer from any thread, bounds what waits, and hands it to the
// connection on the server's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serve/exchange.h"
#include "serve/http_answer.h"

namespace wingspan::serve {

// One answer in the making, shared by the handler's Responder and the connection. Thread-safe.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  struct Output {
    std::string bytes;
    int status = 0;         // 0: nothing was answered yet
    bool complete = false;  // nothing follows
    bool close = false;     // the connection ends with the answer
    bool overflow = false;  // the client read too slowly
  };

  // Called from any thread, outside of the lock, when there is something to take; once until
  // take(). Asks the server's thread to call take() and late_gone(). False: the server has stopped.
  using Ready = std::function<bool(const std::shared_ptr<Exchange>&)>;

  // `max_bytes`: of a stream's output that waits here or, as counted by written(), in the
  // connection.
  Exchange(std::string request_id, const AnswerFraming& framing, size_t max_bytes, Ready ready);

  // The connection's side.
  Output take();
  void written(size_t bytes);  // so many bytes that were taken have left
  // The client has gone: no more output, and the handler's callback is called here, once, unless
  // the answer was complete.
  void client_gone();
  // Calls the handler's callback if it was set after the client had gone.
  void late_gone();
  // From now on answers that have not begun end the connection.
  void close_after();

  // The handler's side; see Responder.
  void reply(HttpResponse response);
  void begin_stream();
  void events(const std::vector<std::string>& data);
  void end_stream();
  void on_gone(std::function<void()> gone);
  // No Responder is left: what was not answered becomes an error.
  void abandoned();

 private:
  enum class Stage { kWaiting, kStream, kComplete, kGone };
  void notify(std::unique_lock<std::mutex>& lock);
  void begin_stream_locked();

  const std::string request_id_;
  const size_t max_bytes_;
  const Ready ready_;
  std::mutex mutex_;
  AnswerFraming framing_;
  Stage stage_ = Stage::kWaiting;
  bool header_sent_ = false;
  bool announced_ = false;  // ready_ was called since the last take()
  bool told_gone_ = false;  // the callback was called
  Output output_;
  size_t waiting_bytes_ = 0;  // here and in the connection
  std::function<void()> gone_;
};

// What a handler gets: the last copy that goes answers with an error if nothing was answered.
std::shared_ptr<Responder> make_responder(std::shared_ptr<Exchange> exchange);

}  // namespace wingspan::serve
