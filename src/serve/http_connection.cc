#include "serve/http_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cmath>
#include <exception>

namespace wingspan::serve {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr uint64_t kSmallBody = 64 * 1024;  // of a GET; of a refused request that is read on
constexpr int64_t kMaxLinger = 64 << 20;    // bytes thrown away after the last answer
constexpr size_t kKeptBuffer = 64 * 1024;   // capacity that an idle connection may keep

// SO_ERROR, which Asio doesn't name.
struct PendingError {
  int value = 0;
  template <class Protocol>
  int level(const Protocol& /*protocol*/) const {
    return SOL_SOCKET;
  }
  template <class Protocol>
  int name(const Protocol& /*protocol*/) const {
    return SO_ERROR;
  }
  template <class Protocol>
  int* data(const Protocol& /*protocol*/) {
    return &value;
  }
  template <class Protocol>
  size_t size(const Protocol& /*protocol*/) const {
    return sizeof(value);
  }
  template <class Protocol>
  void resize(const Protocol& /*protocol*/, size_t /*size*/) {}
};

std::string printable(std::string_view text) {
  std::string out(text.substr(0, 200));
  for (char& c : out) {
    if (c <= 0x20 || c > 0x7e) c = '?';
  }
  return out;
}

HttpResponse refused_for_load(const std::string& why, double retry_after_s) {
  HttpResponse response = error_answer(429, why);
  const double wait = std::clamp(std::ceil(retry_after_s), 1.0, 120.0);
  response.headers.emplace_back("Retry-After", std::to_string(static_cast<int>(wait)));
  return response;
}

bool has_body_by_method(const std::string& method) {
  return method == "POST" || method == "PUT" || method == "PATCH";
}

}  // namespace

Connection::Connection(ServerCore& core, asio::ip::tcp::socket socket, std::string client,
                       bool surplus)
    : core_(core),
      socket_(std::move(socket)),
      client_(std::move(client)),
      surplus_(surplus),
      reader_(core.options.reader) {
  ++core_.open_connections;
}

Connection::~Connection() { --core_.open_connections; }

void Connection::start() {
  set_phase(Phase::kIdle, core_.options.idle_s);
  wait_readable();
}

// `limit_s` 0: no limit.
void Connection::set_phase(Phase phase, double limit_s) {
  phase_ = phase;
  deadline_ns_ = limit_s > 0 ? core_.now_ns() + static_cast<int64_t>(limit_s * 1e9) : INT64_MAX;
}

// Waiting for readiness and then reading without waiting keeps no buffer for an idle connection.
void Connection::wait_readable() {
  if (std::exchange(reading_, true)) return;
  socket_.async_wait(asio::socket_base::wait_read, [self = shared_from_this()](error_code error) {
    self->reading_ = false;
    if (!error) self->on_readable();
  });
}

// Tells of a reset while nothing is read.
void Connection::wait_error() {
  if (std::exchange(watching_, true)) return;
  socket_.async_wait(asio::socket_base::wait_error, [self = shared_from_this()](error_code error) {
    self->watching_ = false;
    if (!error) self->on_error_event();
  });
}

void Connection::wait_writable() {
  if (std::exchange(writing_, true)) return;
  socket_.async_wait(asio::socket_base::wait_write, [self = shared_from_this()](error_code error) {
    self->writing_ = false;
    if (!error && self->phase_ != Phase::kClosed) self->write();
  });
}

void Connection::on_error_event() {
  if (phase_ == Phase::kClosed) return;
  PendingError pending;
  error_code error;
  socket_.get_option(pending, error);
  // Without an error it was urgent data, which nobody reads; a write will tell of a reset.
  if (error || pending.value != 0) client_gone(false);
}

void Connection::on_readable() {
  if (phase_ == Phase::kClosed || peer_ended_) return;
  size_t room = core_.scratch.size();
  if (phase_ == Phase::kAnswer) {
    const auto most = static_cast<size_t>(core_.options.input_ahead_bytes);
    room = std::min(room, most - std::min(most, in_.size()));
    if (room == 0) return wait_error();
  }
  error_code error;
  const size_t size = socket_.read_some(asio::buffer(core_.scratch.data(), room), error);
  if (error == asio::error::would_block || error == asio::error::interrupted) {
    return wait_readable();
  }
  if (error && error != asio::error::eof) return client_gone(false);
  peer_ended_ = error == asio::error::eof;
  if (phase_ == Phase::kLinger) {
    lingered_bytes_ += static_cast<int64_t>(size);
    if (peer_ended_ || lingered_bytes_ > kMaxLinger) return close();
    return wait_readable();
  }
  in_.append(core_.scratch.data(), size);
  if (phase_ != Phase::kAnswer) return advance();
  // A client may shut its sending side down and still read. One that closed altogether resets the
  // connection at the next write.
  if (peer_ended_) return wait_error();
  wait_readable();
}

void Connection::advance() {
  while (phase_ == Phase::kIdle || phase_ == Phase::kHeader || phase_ == Phase::kBody) {
    size_t used = 0;
    const RequestReader::State state = reader_.feed(in_, used);
    in_.erase(0, used);
    switch (state) {
      case RequestReader::State::kMore:
        if (!hold_body()) {
          return answer_now(refused_for_load("the requests of all clients take too much memory",
                                             core_.options.retry_after_s));
        }
        if (phase_ == Phase::kIdle && !in_.empty()) {
          set_phase(Phase::kHeader, core_.options.header_s);
        }
        if (!peer_ended_) return wait_readable();
        if (phase_ == Phase::kIdle || skipping_) return close();
        return answer_now(error_answer(400, "the request ends too early"));
      case RequestReader::State::kHead:
        on_head();
        break;
      case RequestReader::State::kDone:
        if (skipping_) {
          next_request();
        } else {
          hold_body();
          return dispatch();
        }
        break;
      case RequestReader::State::kBad:
        if (skipping_) return close();
        return answer_now(error_answer(reader_.problem().status, reader_.problem().message));
    }
  }
}

bool Connection::hold_body() {
  if (reader_.body_size() == 0) return true;
  if (body_ == nullptr) body_ = std::make_shared<BodyShare>(core_.bodies_bytes);
  body_->hold(static_cast<int64_t>(reader_.body_size()));
  return core_.bodies_bytes <= core_.options.max_bodies_bytes;
}

void Connection::on_head() {
  const RequestHead& head = reader_.head();
  ++core_.requests;
  received_ns_ = core_.now_ns();
  request_id_ = head.request_id.empty() ? core_.new_request_id() : head.request_id;
  route_ = core_.find_route(head.method, head.path);
  if (auto response = refuse(head)) return refused(*std::move(response));
  if (!has_body_by_method(head.method)) reader_.limit_body(kSmallBody);
  set_phase(Phase::kBody, core_.options.body_s);
  if (head.expect_continue && (head.chunked || head.length > 0)) {
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
    write();
  }
}

// Answers at once. A short body is then skipped; a long one, or one that waits for "100 Continue",
// costs the connection.
void Connection::refused(HttpResponse response) {
  const RequestHead& head = reader_.head();
  if (head.chunked || head.length > kSmallBody || head.expect_continue) {
    return answer_now(std::move(response));
  }
  skipping_ = true;
  reader_.drop_body();
  open_exchange();
  exchange_->reply(std::move(response));
}

// The answer to a request that gets no further than its header, if there is one.
std::optional<HttpResponse> Connection::refuse(const RequestHead& head) {
  const std::string allowed = core_.allowed_methods(head.path);
  if (allowed.empty() && head.path != "*") {
    return error_answer(404, fmt::format("there is nothing at {}; see the documentation of the "
                                         "server's paths",
                                         printable(head.path)));
  }
  if (head.method == "OPTIONS") {
    HttpResponse response;
    response.status = 204;
    response.headers.emplace_back("Allow", allowed.empty() ? "GET, HEAD, OPTIONS, POST" : allowed);
    return response;
  }
  if (route_ == nullptr) {
    HttpResponse response = error_answer(
        405,
        fmt::format("{} takes {}, not {}", printable(head.path), allowed, printable(head.method)));
    response.headers.emplace_back("Allow", allowed);
    return response;
  }
  if (has_body_by_method(head.method) && !head.chunked && !head.has_length) {
    return error_answer(411, "the request has no Content-Length");
  }
  return route_->open ? std::nullopt : refuse_for_load();
}

std::optional<HttpResponse> Connection::refuse_for_load() {
  const HttpOptions& options = core_.options;
  if (core_.draining) {
    HttpResponse response = error_answer(503, "the server is stopping; send this elsewhere");
    response.headers.emplace_back("Retry-After", "5");
    return response;
  }
  if (surplus_) {
    HttpResponse response = error_answer(503, "the server has too many connections");
    response.headers.emplace_back("Retry-After", "5");
    return response;
  }
  if (const double wait = core_.rates.take(client_, received_ns_); wait > 0) {
    return refused_for_load("this client sends too many requests", wait);
  }
  if (!authorized(reader_.head().authorization, options.api_keys)) {
    HttpResponse response =
        error_answer(401, "the API key is missing or wrong; send \"Authorization: Bearer KEY\"");
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return response;
  }
  if (route_->queues && core_.hooks.busy && core_.hooks.busy()) {
    return refused_for_load("too many requests are waiting", options.retry_after_s);
  }
  if (!route_->quick && core_.queued >= options.max_queued) {
    return refused_for_load("too many requests are being read", options.retry_after_s);
  }
  if (core_.bodies_bytes >= options.max_bodies_bytes) {
    return refused_for_load("the requests of all clients take too much memory",
                            options.retry_after_s);
  }
  return std::nullopt;
}

// Answers what can't be handled, without an exchange; the connection ends with it.
void Connection::answer_now(HttpResponse response) {
  const RequestHead& head = reader_.head();
  if (request_id_.empty()) request_id_ = core_.new_request_id();
  if (received_ns_ == 0) received_ns_ = core_.now_ns();
  body_.reset();
  set_phase(Phase::kAnswer, 0);
  status_ = response.status;
  answer_complete_ = close_after_ = true;
  out_ += answer_bytes(response, request_id_, {head.http_1_0, false, head.method == "HEAD"});
  write();
}

void Connection::open_exchange() {
  const RequestHead& head = reader_.head();
  const AnswerFraming framing{head.http_1_0, head.keep_alive && !core_.draining && !surplus_,
                              head.method == "HEAD"};
  const auto ready = [gate = core_.gate,
                      weak = weak_from_this()](const std::shared_ptr<Exchange>& exchange) {
    return gate->post([weak, exchange] {
      exchange->late_gone();
      const auto self = weak.lock();
      if (self != nullptr && self->exchange_ == exchange) self->flush();
    });
  };
  exchange_ = std::make_shared<Exchange>(request_id_, framing,
                                         static_cast<size_t>(core_.options.output_bytes), ready);
  core_.add_answering(1);
  set_phase(Phase::kAnswer, 0);
}

void Connection::dispatch() {
  const RequestHead& head = reader_.head();
  auto request = std::make_shared<HttpRequest>();
  request->method = head.method;
  request->path = head.path;
  request->query = head.query;
  request->body = reader_.take_body();
  request->request_id = request_id_;
  request->received_ns = received_ns_;
  open_exchange();
  const bool quick = route_->quick;
  auto work = [&core = core_, handler = &route_->handler, request = std::move(request),
               body = std::move(body_), responder = make_responder(exchange_), quick] {
    if (!quick) --core.queued;
    try {
      (*handler)(*request, responder);
    } catch (const std::exception& error) {
      // A stream that has begun is ended by the Responder when it goes.
      responder->reply(error_answer(500, fmt::format("the server failed: {}", error.what())));
    }
  };
  body_ = nullptr;
  if (peer_ended_) {
    wait_error();
  } else {
    wait_readable();  // so that a client that leaves is noticed
  }
  if (quick) return work();
  ++core_.queued;
  asio::post(core_.handlers, std::move(work));
}

void Connection::flush() {
  Exchange::Output output = exchange_->take();
  if (output.status != 0) status_ = output.status;
  if (output.overflow) return client_gone(true);
  if (out_begin_ > kKeptBuffer) {
    out_.erase(0, out_begin_);
    out_begin_ = 0;
  }
  out_ += output.bytes;
  answer_complete_ = output.complete;
  close_after_ = close_after_ || output.close;
  if (!writing_) write();
}

void Connection::write() {
  while (out_begin_ < out_.size()) {
    error_code error;
    const size_t size =
        socket_.write_some(asio::buffer(out_.data() + out_begin_, out_.size() - out_begin_), error);
    if (error == asio::error::would_block || error == asio::error::interrupted) {
      if (phase_ == Phase::kAnswer) set_phase(Phase::kAnswer, core_.options.stall_s);
      return wait_writable();
    }
    if (error) return client_gone(false);
    out_begin_ += size;
    sent_bytes_ += static_cast<int64_t>(size);
    if (exchange_ != nullptr) exchange_->written(size);
  }
  out_.clear();
  if (out_.capacity() > kKeptBuffer) out_.shrink_to_fit();
  out_begin_ = 0;
  if (phase_ != Phase::kAnswer) return;
  set_phase(Phase::kAnswer, 0);
  if (answer_complete_) answered();
}

void Connection::answered() {
  log(true, false);
  if (exchange_ != nullptr) core_.add_answering(-1);
  exchange_.reset();
  if (close_after_ || (core_.draining && !skipping_)) return linger();
  if (skipping_) {
    set_phase(Phase::kBody, core_.options.body_s);
  } else {
    next_request();
  }
  // Requests that were sent ahead take turns with those of other connections.
  asio::post(core_.io, [self = shared_from_this()] { self->advance(); });
}

void Connection::next_request() {
  reader_ = RequestReader(core_.options.reader);
  route_ = nullptr;
  request_id_.clear();
  received_ns_ = 0;
  sent_bytes_ = 0;
  status_ = 0;
  skipping_ = answer_complete_ = false;
  body_.reset();
  if (in_.empty() && in_.capacity() > kKeptBuffer) in_.shrink_to_fit();
  set_phase(Phase::kIdle, core_.options.idle_s);
}

// Ends our side and reads on for a while: closing with unread data would reset the connection, and
// the client might lose the answer.
void Connection::linger() {
  error_code error;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
  in_.clear();
  if (error || peer_ended_) return close();
  set_phase(Phase::kLinger, core_.options.linger_s);
  wait_readable();
}

void Connection::client_gone(bool overflow) {
  const bool answering = phase_ == Phase::kAnswer;
  if (answering) {
    ++core_.gone;
    if (overflow) ++core_.overflows;
    log(false, overflow);
  }
  if (overflow) {
    // What the kernel still holds would go on to a client that doesn't read it.
    error_code error;
    socket_.set_option(asio::socket_base::linger(true, 0), error);
  }
  close();
}

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  set_phase(Phase::kClosed, 0);
  error_code error;
  socket_.close(error);
  core_.connections.erase(self);
  body_.reset();
  const auto exchange = std::exchange(exchange_, nullptr);
  if (exchange == nullptr) return;
  core_.add_answering(-1);
  exchange->client_gone();
}

void Connection::drain() {
  if (exchange_ != nullptr) exchange_->close_after();
}

void Connection::check_deadline(int64_t now_ns) {
  if (now_ns < deadline_ns_) return;
  switch (phase_) {
    case Phase::kHeader:
      return answer_now(error_answer(
          408, fmt::format("the header did not arrive within {} s", core_.options.header_s)));
    case Phase::kBody:
      if (skipping_) return close();
      return answer_now(error_answer(
          408, fmt::format("the body did not arrive within {} s", core_.options.body_s)));
    case Phase::kAnswer:
      return client_gone(true);
    case Phase::kIdle:
    case Phase::kLinger:
      return close();
    case Phase::kClosed:
      return;
  }
}

void Connection::log(bool complete, bool overflow) {
  if (!core_.hooks.log) return;
  const RequestHead& head = reader_.head();
  AccessRecord record;
  record.client = client_;
  record.method = printable(head.method);
  record.path = printable(head.path);
  record.request_id = request_id_;
  record.status = status_;
  record.complete = complete;
  record.overflow = overflow;
  record.sent_bytes = sent_bytes_;
  record.duration_s = seconds(received_ns_, core_.now_ns());
  core_.hooks.log(record);
}

}  // namespace wingspan::serve
