#include "serve/http_head.h"

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cctype>
#include <charconv>

namespace wingspan::serve {
namespace {

namespace http = boost::beast::http;
using Bad = tl::unexpected<HttpProblem>;

Bad bad(int status, std::string message) { return Bad(HttpProblem{status, std::move(message)}); }

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

// What Beast lets pass or mends, and others read differently: line ends that are not CRLF, and
// lines that go on in the next one.
std::optional<HttpProblem> check_lines(std::string_view header) {
  for (size_t i = 0; i < header.size(); ++i) {
    const char c = header[i];
    if (c == '\0') return HttpProblem{400, "the header holds a zero byte"};
    if (c == '\n' && (i == 0 || header[i - 1] != '\r')) {
      return HttpProblem{400, "a line of the header ends without CR"};
    }
    if (c == '\r' && (i + 1 == header.size() || header[i + 1] != '\n')) {
      return HttpProblem{400, "the header holds a CR without LF"};
    }
    if (c == '\n' && i + 1 < header.size() && (header[i + 1] == ' ' || header[i + 1] == '\t')) {
      return HttpProblem{400, "a line of the header is folded"};
    }
  }
  return std::nullopt;
}

HttpProblem explain(const boost::beast::error_code& error) {
  if (error == http::error::bad_method) return {400, "the request does not begin with a method"};
  if (error == http::error::bad_target) return {400, "the request's target is not valid"};
  if (error == http::error::bad_version) {
    return {505, "the request is not of HTTP/1.1 or HTTP/1.0"};
  }
  if (error == http::error::bad_content_length || error == http::error::multiple_content_length) {
    return {400, "Content-Length is not one number, or Transfer-Encoding stands beside it"};
  }
  if (error == http::error::bad_transfer_encoding) {
    return {400, "Transfer-Encoding stands twice or beside Content-Length"};
  }
  return {400, "the header is not valid HTTP: " + error.message()};
}

// The path of a target in one of its forms: "/path?query", "http://host/path?query", "*".
tl::expected<void, HttpProblem> split_target(std::string_view target, RequestHead& head) {
  if (target == "*" && head.method == "OPTIONS") {
    head.path = "*";
    return {};
  }
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!boost::beast::iequals({target.data(), std::min(target.size(), scheme.size())},
                               {scheme.data(), scheme.size()})) {
      continue;
    }
    target.remove_prefix(scheme.size());
    target.remove_prefix(std::min(target.find_first_of("/?#"), target.size()));
    if (target.empty()) target = "/";
    break;
  }
  if (!target.starts_with('/')) return bad(400, "the request's target does not begin with /");
  const size_t question = target.find('?');
  if (question != std::string_view::npos) head.query = std::string(target.substr(question + 1));
  if (!percent_decode(target.substr(0, question), head.path)) {
    return bad(400, "a % in the request's target is not followed by two hexadecimal digits");
  }
  return {};
}

// How long the body is; refuses every form that two readers could take differently.
tl::expected<void, HttpProblem> read_framing(const http::fields& fields, RequestHead& head) {
  const auto lengths = fields.count(http::field::content_length);
  const auto codings = fields.count(http::field::transfer_encoding);
  if (lengths > 1) return bad(400, "Content-Length stands more than once");
  if (codings > 1) return bad(400, "Transfer-Encoding stands more than once");
  if (lengths == 1 && codings == 1) {
    return bad(400, "Transfer-Encoding stands beside Content-Length");
  }
  if (codings == 1) {
    if (head.http_1_0) return bad(400, "Transfer-Encoding in a request of HTTP/1.0");
    if (!boost::beast::iequals(fields[http::field::transfer_encoding], "chunked")) {
      return bad(501, "of the transfer codings only \"chunked\" is understood");
    }
    head.chunked = true;
  }
  if (lengths == 1) {
    const std::string_view text = view(fields[http::field::content_length]);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), head.length);
    if (error != std::errc() || end != text.data() + text.size()) {
      return bad(400, "Content-Length is not a number");
    }
    head.has_length = true;
  }
  return {};
}

}  // namespace

bool percent_decode(std::string_view text, std::string& out) {
  out.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return false;
    const auto [end, error] = std::from_chars(&text[i + 1], &text[i + 1] + 2, value, 16);
    if (error != std::errc() || end != &text[i + 1] + 2) return false;
    out += static_cast<char>(value);
    i += 2;
  }
  return true;
}

bool good_request_id(std::string_view id) {
  if (id.empty() || id.size() > 128) return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_.:/+=@").find(c) != std::string_view::npos;
  });
}

tl::expected<RequestHead, HttpProblem> parse_head(std::string_view header,
                                                  const ReaderLimits& limits) {
  if (auto problem = check_lines(header)) return Bad(*std::move(problem));
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<uint32_t>(limits.header_bytes + 1));
  parser.body_limit(boost::none);
  boost::beast::error_code error;
  const size_t used = parser.put(boost::asio::const_buffer(header.data(), header.size()), error);
  if (error) return Bad(explain(error));
  if (used != header.size() || !parser.is_header_done()) {
    return bad(400, "the header ends too early");
  }
  const auto& message = parser.get();
  RequestHead head;
  head.http_1_0 = message.version() == 10;
  head.method = view(message.method_string());
  if (message.target().size() > limits.target_bytes) {
    return bad(414, "the request's target is longer than " + std::to_string(limits.target_bytes) +
                        " bytes");
  }
  if (auto done = split_target(view(message.target()), head); !done) return Bad(done.error());
  if (auto done = read_framing(message.base(), head); !done) return Bad(done.error());
  const auto hosts = message.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && !head.http_1_0)) {
    return bad(400, hosts == 0 ? "the header has no Host" : "Host stands more than once");
  }
  head.keep_alive = message.keep_alive();
  if (message.count(http::field::authorization) > 1) {
    return bad(400, "Authorization stands more than once");
  }
  if (const auto found = message.find(http::field::authorization); found != message.end()) {
    head.authorization = std::string(view(found->value()));
  }
  if (const auto found = message.find("x-request-id"); found != message.end()) {
    if (good_request_id(view(found->value()))) head.request_id = view(found->value());
  }
  if (const auto found = message.find(http::field::expect); found != message.end()) {
    if (!boost::beast::iequals(found->value(), "100-continue")) {
      return bad(417, "of the expectations only \"100-continue\" is understood");
    }
    head.expect_continue = !head.http_1_0;
  }
  return head;
}

}  // namespace wingspan::serve
