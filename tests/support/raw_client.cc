#include "support/raw_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/clock.h"

namespace wingspan::test {
namespace {

int64_t deadline_after(double timeout_s) {
  return system_clock().now_ns() + static_cast<int64_t>(timeout_s * 1e9);
}

}  // namespace

std::string RawAnswer::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

RawClient::RawClient(int port, int receive_bytes) {
  socket_ = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (receive_bytes > 0) {
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) close();
}

RawClient::RawClient(RawClient&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)), in_(std::move(other.in_)), end_(other.end_) {}

RawClient::~RawClient() { close(); }

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(size));
  }
  return true;
}

bool RawClient::more(int64_t deadline_ns) {
  while (!end_) {
    const int64_t left_ms = (deadline_ns - system_clock().now_ns()) / 1'000'000;
    pollfd waiting{socket_, POLLIN, 0};
    if (left_ms < 0 || poll(&waiting, 1, static_cast<int>(left_ms) + 1) == 0) return false;
    char buffer[65536];
    const ssize_t size = recv(socket_, buffer, sizeof(buffer), 0);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size <= 0) {
      end_ = true;
      reset_seen_ = size < 0;
      return false;
    }
    in_.append(buffer, static_cast<size_t>(size));
    return true;
  }
  return false;
}

bool RawClient::has(std::string_view text, size_t from, size_t& found, int64_t deadline_ns) {
  while ((found = in_.find(text, from)) == std::string::npos) {
    if (!more(deadline_ns)) return false;
  }
  return true;
}

std::optional<RawAnswer> RawClient::answer(double timeout_s, bool head_only) {
  const int64_t deadline_ns = deadline_after(timeout_s);
  size_t end = 0;
  if (!has("\r\n\r\n", 0, end, deadline_ns)) return std::nullopt;
  RawAnswer out;
  size_t at = in_.find("\r\n");
  const std::string first = in_.substr(0, at);
  if (first.size() < 12 || !first.starts_with("HTTP/1.1 ")) return std::nullopt;
  out.status = std::atoi(first.c_str() + 9);
  out.reason = first.size() > 13 ? first.substr(13) : "";
  while (at < end) {
    const size_t next = in_.find("\r\n", at + 2);
    const std::string line = in_.substr(at + 2, next - at - 2);
    const size_t colon = line.find(": ");
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), ::tolower);
    out.headers[name] = colon == std::string::npos ? "" : line.substr(colon + 2);
    at = next;
  }
  size_t begin = end + 4;
  if (head_only || out.status == 204 || out.status == 100) {
    in_.erase(0, begin);
    return out;
  }
  if (out.header("transfer-encoding") == "chunked") {
    for (;;) {
      size_t line = 0;
      if (!has("\r\n", begin, line, deadline_ns)) return std::nullopt;
      const size_t size = std::stoul(in_.substr(begin, line - begin), nullptr, 16);
      while (in_.size() < line + 2 + size + 2) {
        if (!more(deadline_ns)) return std::nullopt;
      }
      if (size > 0) out.chunks.push_back(in_.substr(line + 2, size));
      begin = line + 2 + size + 2;
      if (size == 0) break;
      out.body += out.chunks.back();
    }
  } else if (!out.header("content-length").empty()) {
    const size_t size = std::stoul(out.header("content-length"));
    while (in_.size() < begin + size) {
      if (!more(deadline_ns)) return std::nullopt;
    }
    out.body = in_.substr(begin, size);
    begin += size;
  } else {
    while (more(deadline_ns)) continue;
    if (!end_) return std::nullopt;
    out.body = in_.substr(begin);
    begin = in_.size();
  }
  in_.erase(0, begin);
  return out;
}

std::string RawClient::read_until(std::string_view text, double timeout_s) {
  size_t found = 0;
  has(text, 0, found, deadline_after(timeout_s));
  return in_;
}

std::optional<std::string> RawClient::read_to_end(double timeout_s) {
  const int64_t deadline_ns = deadline_after(timeout_s);
  while (more(deadline_ns)) continue;
  if (!end_) return std::nullopt;
  return std::exchange(in_, {});
}

void RawClient::finish_sending() { shutdown(socket_, SHUT_WR); }

void RawClient::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void RawClient::reset() {
  const linger now{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close();
}

std::string get(const std::string& path, const std::string& headers) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n{}\r\n", path, headers);
}

std::string post(const std::string& path, const std::string& body, const std::string& headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n{}\r\n{}", path,
                     body.size(), headers, body);
}

}  // namespace wingspan::test
