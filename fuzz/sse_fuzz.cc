// Bytes as the texts of events, and as what a handler puts into a header: a reader of the stream
// must find exactly the events that were written, each on one line.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "serve/http_answer.h"

namespace {

// The texts of a stream of events, read as clients do.
std::vector<std::string> read_events(std::string_view stream) {
  std::vector<std::string> out;
  while (!stream.empty()) {
    const size_t end = stream.find("\n\n");
    WS_CHECK(end != std::string_view::npos && stream.starts_with("data: "));
    const std::string_view line = stream.substr(6, end - 6);
    WS_CHECK(line.find_first_of("\r\n") == std::string_view::npos);
    out.emplace_back(line);
    stream.remove_prefix(end + 2);
  }
  return out;
}

std::string unchunk(std::string_view body) {
  std::string out;
  for (;;) {
    const size_t line = body.find("\r\n");
    WS_CHECK(line != std::string_view::npos);
    const size_t size = std::stoul(std::string(body.substr(0, line)), nullptr, 16);
    out += body.substr(line + 2, size);
    WS_CHECK(body.substr(line + 2 + size, 2) == "\r\n");
    body.remove_prefix(line + 2 + size + 2);
    if (size == 0) break;
  }
  WS_CHECK(body.empty());
  return out;
}

void check_header(const std::string& text) {
  wingspan::serve::HttpResponse response = wingspan::serve::error_answer(400, text, text);
  WS_CHECK(wingspan::Json::accept(response.body));
  response.headers.emplace_back("Retry-After", text);
  response.headers.emplace_back(text, "x");
  response.content_type = text;
  const std::string bytes = wingspan::serve::answer_bytes(response, text, {});
  const size_t end = bytes.find("\r\n\r\n");
  WS_CHECK(end != std::string::npos && bytes.substr(end + 4) == response.body);
  const auto lines = std::count(bytes.begin(), bytes.begin() + static_cast<int64_t>(end), '\n');
  // Status, id, Retry-After, at most one of a free name, type, length.
  WS_CHECK(lines == 4 || lines == 5, "{}", bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  // A byte 0xff parts the texts.
  std::vector<std::string> texts(1);
  for (const char c : bytes) {
    if (c == '\xff') {
      texts.emplace_back();
    } else {
      texts.back() += c;
    }
  }
  std::string plain, chunked;
  wingspan::serve::append_events(plain, texts, false);
  wingspan::serve::append_events(chunked, texts, true);
  wingspan::serve::append_stream_end(plain, false);
  wingspan::serve::append_stream_end(chunked, true);
  WS_CHECK(unchunk(chunked) == plain);
  WS_CHECK(plain.ends_with("data: [DONE]\n\n"));
  std::vector<std::string> expected = texts;
  for (std::string& text : expected) {
    for (char& c : text) c = c == '\n' || c == '\r' ? ' ' : c;
  }
  expected.emplace_back("[DONE]");
  WS_CHECK(read_events(plain) == expected);
  check_header(texts.front());
  return 0;
}
