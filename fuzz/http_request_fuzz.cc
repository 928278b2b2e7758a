// Bytes as a connection's input: the first byte says in which portions they come. Requests are read
// until one is refused. In one portion and in many they must be read alike.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "serve/http_head.h"
#include "serve/http_reader.h"

namespace {

using wingspan::serve::ReaderLimits;
using wingspan::serve::RequestReader;

// What was read, as text: the heads, the bodies, the problem.
std::string read_all(std::string_view bytes, size_t portion) {
  ReaderLimits limits;
  limits.header_bytes = 4096;
  limits.target_bytes = 1024;
  limits.body_bytes = 4096;
  std::string out, held;
  RequestReader reader(limits);
  for (size_t at = 0; at < bytes.size();) {
    held += bytes.substr(at, portion);
    at += std::min(portion, bytes.size() - at);
    for (bool more = false; !more;) {
      size_t used = 0;
      const RequestReader::State state = reader.feed(held, used);
      WS_CHECK(used <= held.size(), "{} of {}", used, held.size());
      held.erase(0, used);
      const auto& head = reader.head();
      switch (state) {
        case RequestReader::State::kMore:
          WS_CHECK(held.size() <= limits.header_bytes, "{} bytes wait", held.size());
          more = true;
          break;
        case RequestReader::State::kHead:
          WS_CHECK(head.path == "*" || head.path.starts_with('/'), "{}", head.path);
          WS_CHECK(!(head.chunked && head.has_length));
          WS_CHECK(head.request_id.empty() || wingspan::serve::good_request_id(head.request_id));
          out += head.method + " " + head.path + "?" + head.query + "\n";
          break;
        case RequestReader::State::kDone:
          WS_CHECK(reader.body_size() <= limits.body_bytes);
          WS_CHECK(head.chunked || reader.body_size() == head.length);
          out += reader.take_body() + "\n";
          reader = RequestReader(limits);
          more = held.empty();
          break;
        case RequestReader::State::kBad:
          WS_CHECK(reader.problem().status >= 400 && !reader.problem().message.empty());
          return out + "refused";
      }
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = read_all(bytes, std::max<size_t>(bytes.size(), 1));
  const std::string parts = read_all(bytes, 1 + data[0] % 64);
  WS_CHECK(whole == parts, "\n{}\n---\n{}", whole, parts);
  return 0;
}
