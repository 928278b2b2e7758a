// One connection of the HTTP server, and what all of them share. Only the two files of the server
// include this: Asio takes long to compile.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/thread_pool.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "serve/access.h"
#include "serve/http_server.h"
#include "serve/responder.h"

namespace wingspan::serve {

class Connection;

// The way onto the server's thread for those who may live longer than the server.
class ServerGate {
 public:
  explicit ServerGate(boost::asio::io_context& io) : io_(&io) {}
  bool post(std::function<void()> work);  // false: closed
  void close();

 private:
  std::mutex mutex_;
  boost::asio::io_context* io_;
};

// A part of ServerCore::bodies_bytes, given back when the body is no longer kept.
class BodyShare {
 public:
  explicit BodyShare(std::atomic<int64_t>& total) : total_(total) {}
  ~BodyShare() { total_ -= held_; }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;
  void hold(int64_t bytes) { total_ += bytes - std::exchange(held_, bytes); }

 private:
  std::atomic<int64_t>& total_;
  int64_t held_ = 0;
};

// What the connections share. Everything that isn't atomic belongs to the server's thread.
struct ServerCore {
  ServerCore(const HttpOptions& o, std::vector<Route> r, HttpHooks h);
  const Route* find_route(const std::string& method, const std::string& path) const;
  // "GET, HEAD, OPTIONS" of a path, "" for one that no route has.
  std::string allowed_methods(const std::string& path) const;
  int64_t now_ns() const { return options.clock->now_ns(); }
  std::string new_request_id();
  void add_answering(int64_t change);

  const HttpOptions options;
  const std::vector<Route> routes;
  const HttpHooks hooks;
  std::atomic<bool> draining{false};
  std::atomic<int64_t> bodies_bytes{0}, queued{0};
  std::atomic<int64_t> open_connections{0}, requests{0}, refused{0}, gone{0}, overflows{0};
  boost::asio::io_context io{1};
  boost::asio::thread_pool handlers;
  std::shared_ptr<ServerGate> gate;
  std::unordered_set<std::shared_ptr<Connection>> connections;
  RateLimiter rates;
  int64_t connection_limit = 0;
  uint64_t next_id = 0;
  uint64_t id_seed = 0;
  std::array<char, 64 * 1024> scratch;  // what one read brings
  mutable std::mutex idle_mutex;
  std::condition_variable idle_changed;
  int64_t answering = 0;  // under idle_mutex
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // `surplus`: beyond the limit of connections; only open routes are answered.
  Connection(ServerCore& core, boost::asio::ip::tcp::socket socket, std::string client,
             bool surplus);
  ~Connection();
  void start();
  void check_deadline(int64_t now_ns);
  void drain();  // ends now if it is idle, else with its answer
  void close();  // at once; whoever makes the answer is told

 private:
  enum class Phase { kIdle, kHeader, kBody, kAnswer, kLinger, kClosed };

  void set_phase(Phase phase, double limit_s);
  void wait_readable();
  void wait_error();
  void wait_writable();
  void on_readable();
  void on_error_event();
  void advance();  // reads requests from what was received
  void on_head();
  std::optional<HttpResponse> refuse(const RequestHead& head);
  std::optional<HttpResponse> refuse_for_load();
  bool hold_body();  // false: the bodies of all requests take too much
  void refused(HttpResponse response);
  void next_request();
  void answer_now(HttpResponse response);  // what was asked can't be handled; ends the connection
  void open_exchange();
  void dispatch();
  void flush();
  void write();
  void answered();
  void linger();
  void client_gone(bool overflow);
  void log(bool complete, bool overflow);

  ServerCore& core_;
  boost::asio::ip::tcp::socket socket_;
  const std::string client_;
  const bool surplus_;
  Phase phase_ = Phase::kIdle;
  int64_t deadline_ns_ = INT64_MAX;
  bool reading_ = false, writing_ = false, watching_ = false;  // which waits are in flight
  bool peer_ended_ = false;  // the client sends no more; it may well read
  std::string in_;           // received and not yet used
  RequestReader reader_;
  const Route* route_ = nullptr;
  std::string request_id_;
  int64_t received_ns_ = 0;
  std::shared_ptr<BodyShare> body_;  // what it holds of the memory for bodies
  bool skipping_ = false;            // the body of a request that is answered already
  std::shared_ptr<Exchange> exchange_;
  std::string out_;
  size_t out_begin_ = 0;
  bool answer_complete_ = false, close_after_ = false;
  int status_ = 0;
  int64_t sent_bytes_ = 0;
  int64_t lingered_bytes_ = 0;
};

}  // namespace wingspan::serve
