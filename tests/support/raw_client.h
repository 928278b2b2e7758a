// A client of plain bytes: sends what it is told, whether or not it is HTTP.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wingspan::test {

struct RawAnswer {
  int status = 0;
  std::string reason;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // without the framing of chunks
  std::vector<std::string> chunks;             // of a chunked body, the last (empty) one left out
  std::string header(const std::string& name) const;  // "" where it is absent
};

class RawClient {
 public:
  // Connects to 127.0.0.1. `receive_bytes` > 0: the kernel's buffer of this side.
  explicit RawClient(int port, int receive_bytes = 0);
  ~RawClient();
  RawClient(RawClient&& other) noexcept;
  RawClient& operator=(RawClient&&) = delete;
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return socket_ >= 0; }
  bool send(std::string_view bytes);  // all of it; false: the other side ended
  // The next complete answer; nothing where the connection ends or `timeout_s` passes before.
  // `head_only`: of HEAD, without a body.
  std::optional<RawAnswer> answer(double timeout_s = 5, bool head_only = false);
  // Reads until what was received holds `text`; all that was received and not used.
  std::string read_until(std::string_view text, double timeout_s = 5);
  // Reads until the connection's end: all bytes, or nothing where `timeout_s` passes before.
  std::optional<std::string> read_to_end(double timeout_s = 5);
  bool ended(double timeout_s = 5) { return read_to_end(timeout_s).has_value(); }
  void finish_sending();  // half-close
  void close();           // both sides, as close() does
  void reset();           // closes with RST
  bool was_reset() const { return reset_seen_; }

 private:
  bool more(int64_t deadline_ns);  // false: end or deadline
  bool has(std::string_view text, size_t from, size_t& found, int64_t deadline_ns);
  int socket_ = -1;
  std::string in_;
  bool end_ = false, reset_seen_ = false;
};

std::string get(const std::string& path, const std::string& headers = "");
std::string post(const std::string& path, const std::string& body, const std::string& headers = "");

}  // namespace wingspan::test
