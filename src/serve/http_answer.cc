#include "serve/http_answer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"

namespace wingspan::serve {
namespace {

constexpr size_t kMaxReason = 240;

// Text that can stand in a status line or a header's value.
std::string one_line(std::string_view text, size_t most) {
  std::string out(text.substr(0, most));
  for (char& c : out) {
    if (c < 0x20 || c > 0x7e) c = c == '\t' || c == '\n' || c == '\r' ? ' ' : '?';
  }
  return out;
}

bool token(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

std::string start(int status, std::string_view reason, const std::string& request_id,
                  const AnswerFraming& framing) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", status, one_line(reason, kMaxReason));
  out += fmt::format("x-request-id: {}\r\n", one_line(request_id, 128));
  if (!framing.keep_alive) {
    out += "Connection: close\r\n";
  } else if (framing.http_1_0) {
    out += "Connection: keep-alive\r\n";
  }
  return out;
}

OrderedJson error_object(int status, const std::string& message, const std::string& param,
                         const std::string& type) {
  std::string_view kind = type;
  if (kind.empty()) {
    kind = status == 401   ? "authentication_error"
           : status == 404 ? "not_found_error"
           : status == 429 ? "rate_limit_error"
           : status < 500  ? "invalid_request_error"
           : status == 503 ? "service_unavailable_error"
                           : "internal_server_error";
  }
  OrderedJson error;
  error["message"] = message;
  error["type"] = std::string(kind);
  error["param"] = param.empty() ? OrderedJson(nullptr) : OrderedJson(param);
  error["code"] = status;
  return OrderedJson{{"error", error}};
}

// A message may quote bytes of the client that are not UTF-8.
std::string dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace

std::string_view status_phrase(int status) {
  static constexpr std::pair<int, std::string_view> kPhrases[] = {
      {200, "OK"},
      {204, "No Content"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {411, "Length Required"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {417, "Expectation Failed"},
      {422, "Unprocessable Content"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {503, "Service Unavailable"},
      {505, "HTTP Version Not Supported"},
  };
  for (const auto& [code, phrase] : kPhrases) {
    if (code == status) return phrase;
  }
  return status < 400 ? "OK" : "Error";
}

std::string answer_bytes(const HttpResponse& response, const std::string& request_id,
                         const AnswerFraming& framing) {
  const std::string_view reason =
      response.reason.empty() ? status_phrase(response.status) : response.reason;
  std::string out = start(response.status, reason, request_id, framing);
  for (const auto& [name, value] : response.headers) {
    if (token(name)) out += fmt::format("{}: {}\r\n", name, one_line(value, 4096));
  }
  if (response.status == 204) return out + "\r\n";  // has no body by definition
  out += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
                     one_line(response.content_type, 256), response.body.size());
  if (!framing.head_only) out += response.body;
  return out;
}

std::string stream_header(const std::string& request_id, const AnswerFraming& framing) {
  AnswerFraming used = framing;
  if (framing.http_1_0) used.keep_alive = false;
  std::string out = start(200, "OK", request_id, used);
  // The last one keeps proxies of the nginx kind from holding events back.
  out +=
      "Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
      "X-Accel-Buffering: no\r\n";
  if (!framing.http_1_0) out += "Transfer-Encoding: chunked\r\n";
  return out + "\r\n";
}

void append_events(std::string& out, const std::vector<std::string>& data, bool chunked) {
  if (data.empty()) return;
  constexpr std::string_view kBegin = "data: ", kEnd = "\n\n";
  size_t size = 0;
  for (const std::string& text : data) size += kBegin.size() + text.size() + kEnd.size();
  if (chunked) fmt::format_to(std::back_inserter(out), "{:x}\r\n", size);
  for (const std::string& text : data) {
    out += kBegin;
    const size_t begin = out.size();
    out += text;
    for (size_t i = begin; i < out.size(); ++i) {
      if (out[i] == '\n' || out[i] == '\r') out[i] = ' ';
    }
    out += kEnd;
  }
  if (chunked) out += "\r\n";
}

void append_stream_end(std::string& out, bool chunked) {
  append_events(out, {"[DONE]"}, chunked);
  if (chunked) out += "0\r\n\r\n";
}

HttpResponse error_answer(int status, const std::string& message, const std::string& param,
                          const std::string& type) {
  HttpResponse response;
  response.status = status;
  response.reason = message;
  response.body = dump(error_object(status, message, param, type));
  return response;
}

std::string error_event(int status, const std::string& message, const std::string& type) {
  return dump(error_object(status, message, "", type));
}

}  // namespace wingspan::serve
