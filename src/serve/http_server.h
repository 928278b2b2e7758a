// The HTTP/1.1 server: connections, limits, routes. Speaks no protocol above HTTP; what a route
// answers is its handler's affair (exchange.h).
//
// Threads: one for input and output, which also runs what is given to post(); a few for handlers.
// No client can make a thread wait. A connection answers one request at a time; what a client sends
// meanwhile waits in a bounded buffer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "serve/exchange.h"
#include "serve/http_reader.h"

namespace wingspan::serve {

struct HttpOptions {
  std::string host = "127.0.0.1";     // a name or an address
  int port = 8000;                    // 0: one that is free; see HttpServer::port()
  std::vector<std::string> api_keys;  // empty: everybody may ask
  int handler_threads = 2;
  ReaderLimits reader;
  int64_t max_connections = 4096;                 // more get 503, but for routes that are `open`
  int64_t max_bodies_bytes = int64_t{512} << 20;  // of all requests that are read or being handled
  int64_t max_queued = 1024;                      // complete requests that wait for a thread
  int64_t output_bytes = int64_t{1} << 20;        // of a stream that its client has not read
  int64_t input_ahead_bytes = 64 * 1024;  // that a client may send while it is being answered
  int kernel_send_bytes = 0;  // the system's own buffer of a connection; 0: as it decides
  double header_s = 10;       // for a header, from its first byte
  double body_s = 60;         // for a body
  double idle_s = 75;         // between requests, and before the first
  double stall_s = 60;        // without the client reading anything that waits for it
  double linger_s = 2;        // for reading on after an answer that ends the connection
  double retry_after_s = 2;   // told to clients that are refused for load; at most 120
  double requests_per_s = 0;  // of one client address, to routes that are not `open`; 0: no limit
  const Clock* clock = &system_clock();
};

struct Route {
  std::string method;  // GET (which serves HEAD too), POST, …
  std::string path;    // "/v1/models"; "/v1/models/*": all that begin with "/v1/models/"
  Handler handler;
  bool quick = false;   // run on the server's thread: it never waits and takes no time
  bool open = false;    // needs no key, is never refused for load or while draining
  bool queues = false;  // refused with 429 while HttpHooks::busy says so, before its body is read
};

// One line of the log, for each request that was answered, or refused after its header was read.
struct AccessRecord {
  std::string client;                    // address
  std::string method, path, request_id;  // printable
  int status = 0;                        // as sent; 0: the client left before
  bool complete = false;  // the whole answer went out; else the client left, or read too slowly
  bool overflow = false;  // it read too slowly
  int64_t sent_bytes = 0;
  double duration_s = 0;
};
// "POST /v1/completions 200 3012 bytes 1.204 s, 127.0.0.1, id …".
std::string access_line(const AccessRecord& record);

// Called on the server's thread; each must return at once.
struct HttpHooks {
  std::function<bool()> busy;  // the queue for the engine is full
  std::function<void(const AccessRecord&)> log;
};

struct HttpCounters {
  int64_t connections = 0;          // open now
  int64_t answering = 0;            // requests between their header and the end of their answer
  int64_t bodies_bytes = 0;         // held now
  int64_t requests = 0;             // since the start, with a complete header
  int64_t refused_connections = 0;  // since the start
  int64_t clients_gone = 0;         // before their answer was complete
  int64_t overflows = 0;            // of those, because they read too slowly
};

class HttpServer {
 public:
  // Listens and answers from now on. Errors: the address is taken, unknown or not allowed; two
  // routes for one method and path. Raises the process's soft limit of open files as far as
  // max_connections needs; where the hard limit is too low, connection_limit() is smaller.
  static Expected<std::unique_ptr<HttpServer>> start(const HttpOptions& options,
                                                     std::vector<Route> routes, HttpHooks hooks);
  ~HttpServer();  // stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  std::string url() const;  // "http://127.0.0.1:8000"
  int64_t connection_limit() const;
  HttpCounters counters() const;  // any thread

  // Runs `work` on the server's thread, in the order of calls; any thread. Dropped after stop().
  void post(std::function<void()> work);
  // From now on only `open` routes are answered, others with 503. Answers that are being made go
  // on; a connection ends with its answer.
  void drain_begin();
  // Waits, at most so long, until no request is being answered; whether that was reached. Not on
  // the server's thread.
  bool wait_idle(double timeout_s);
  // Ends all connections (handlers learn it by on_gone) and the threads. Not on the server's
  // thread. May be called again.
  void stop();

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace wingspan::serve
