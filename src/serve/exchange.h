// One HTTP request and the way to answer it, as the handlers of routes see them. What lies behind
// is the HTTP server (http_server.h), or a test.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wingspan::serve {

struct HttpRequest {
  std::string method;       // "GET", "POST", …
  std::string path;         // of the target, decoded, without the query
  std::string query;        // after "?", as sent
  std::string body;         // complete; within the limit of bodies
  std::string request_id;   // x-request-id as sent, else one that the server made
  int64_t received_ns = 0;  // of the monotonic clock, when the header was complete
};

struct HttpResponse {
  int status = 200;
  std::string reason;  // "": the usual phrase of the status
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // further ones, e.g. Retry-After
};

// Answers one request, exactly once: by reply(), or by begin_stream(), events, end_stream(). Every
// call is thread-safe and returns at once; what is written goes through a bounded buffer of the
// connection. Calls after the client has gone do nothing.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void reply(HttpResponse response) = 0;
  // 200, text/event-stream. The header is sent with the first event.
  virtual void begin_stream() = 0;
  // Writes "data: <data>\n\n" for each, all in one write, none split. `data` holds no line break.
  virtual void events(const std::vector<std::string>& data) = 0;
  // "data: [DONE]\n\n", then the end of the body; the connection stays usable.
  virtual void end_stream() = 0;
  // Called once, by the server's thread, when the client has gone or its buffer has overflowed
  // before the answer was complete. Set before the first write.
  virtual void on_gone(std::function<void()> gone) = 0;
};

using Handler = std::function<void(const HttpRequest&, std::shared_ptr<Responder>)>;

}  // namespace wingspan::serve
