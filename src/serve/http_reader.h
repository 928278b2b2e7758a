// Reads one HTTP/1.0 or 1.1 request from bytes, without sockets. Strict: whatever two programs
// could read differently (request smuggling) is refused. RFC 9110, RFC 9112.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wingspan::serve {

struct ReaderLimits {
  size_t header_bytes = 32 * 1024;  // request line and header, with the empty line that ends it
  size_t target_bytes = 8 * 1024;   // of the request line's target
  uint64_t body_bytes = uint64_t{64} << 20;
};

// Why a request is refused. `message` is one line of printable ASCII.
struct HttpProblem {
  int status = 400;
  std::string message;
};

struct RequestHead {
  std::string method;
  std::string path;   // decoded once ("%2e" is "."); begins with "/", or is "*" (of OPTIONS)
  std::string query;  // after the first "?", as sent
  std::optional<std::string> authorization;
  std::string request_id;  // x-request-id, or ""
  bool http_1_0 = false;
  bool keep_alive = true;
  bool chunked = false;
  bool has_length = false;  // Content-Length was sent
  uint64_t length = 0;      // of the body, where it is known
  bool expect_continue = false;
};

// A request comes in two parts, so that the caller can refuse it before its body takes memory: feed
// until kHead, look at head(), feed on until kDone. Not thread-safe.
class RequestReader {
 public:
  enum class State { kMore, kHead, kDone, kBad };

  explicit RequestReader(const ReaderLimits& limits) : limits_(limits) {}

  // `bytes` is all that was received and not yet used; `used` becomes how much of it is read now,
  // and the caller drops that. A header is used as a whole, so the caller keeps at most
  // header_bytes + what it received last. kMore: wait for bytes. kHead: the header is complete,
  // once. kDone: the request is complete; what follows is the next one. kBad: see problem(); the
  // connection can't go on.
  State feed(std::string_view bytes, size_t& used);

  // From kHead on.
  const RequestHead& head() const { return head_; }
  // The length of a body from here on; a route may want less than the limit of all.
  void limit_body(uint64_t bytes) { limits_.body_bytes = bytes; }
  // The body is read but not kept: the request was answered already.
  void drop_body() { drop_body_ = true; }
  // At kDone; moves the body out.
  std::string take_body() { return std::move(body_); }
  size_t body_size() const { return body_.size(); }
  const HttpProblem& problem() const { return problem_; }

 private:
  enum class Stage { kHeader, kBody, kChunkSize, kChunkData, kChunkEnd, kTrailer, kDone, kBad };
  State bad(int status, std::string message);
  State read_header(std::string_view bytes, size_t& used);
  State header_incomplete(std::string_view bytes);
  State begin_body();
  State read_body(std::string_view bytes, size_t& used);
  State read_chunk_size(std::string_view bytes, size_t& used);
  State read_trailer(std::string_view bytes, size_t& used);
  bool too_large();
  bool take_line(std::string_view bytes, std::string_view& line, bool& wrong);

  ReaderLimits limits_;
  Stage stage_ = Stage::kHeader;
  size_t scanned_ = 0;  // bytes of the header in which no end was found
  size_t trailer_bytes_ = 0;
  uint64_t left_ = 0;  // of the body, or of the chunk
  bool drop_body_ = false;
  RequestHead head_;
  std::string body_;
  HttpProblem problem_;
};

}  // namespace wingspan::serve
