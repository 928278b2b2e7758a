#include "serve/http_reader.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "serve/http_head.h"

namespace wingspan::serve {
namespace {

constexpr size_t kMaxChunkLine = 256;  // of a chunk's size and its extensions, which are ignored
constexpr size_t kMaxTrailer = 8 * 1024;

// A method's first character. Bytes of another protocol (TLS, say) are told at once instead of
// after the time for a header.
bool begins_method(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

}  // namespace

RequestReader::State RequestReader::bad(int status, std::string message) {
  stage_ = Stage::kBad;
  problem_ = {status, std::move(message)};
  return State::kBad;
}

RequestReader::State RequestReader::feed(std::string_view bytes, size_t& used) {
  used = 0;
  for (;;) {
    size_t now = 0;
    State state = State::kMore;
    const Stage stage = stage_;
    const std::string_view rest = bytes.substr(used);
    switch (stage) {
      case Stage::kHeader:
        state = read_header(rest, now);
        break;
      case Stage::kBody:
      case Stage::kChunkData:
        state = read_body(rest, now);
        break;
      case Stage::kChunkSize:
      case Stage::kChunkEnd:
        state = read_chunk_size(rest, now);
        break;
      case Stage::kTrailer:
        state = read_trailer(rest, now);
        break;
      case Stage::kDone:
        return State::kDone;
      case Stage::kBad:
        return State::kBad;
    }
    used += now;
    // Goes on while something happens.
    if (state != State::kMore || (now == 0 && stage == stage_)) return state;
  }
}

RequestReader::State RequestReader::header_incomplete(std::string_view bytes) {
  const size_t line = bytes.find("\r\n");
  if (bytes.size() >= limits_.header_bytes) {
    if (line == std::string_view::npos) return bad(414, "the request line is too long");
    return bad(431, "the header is longer than " + std::to_string(limits_.header_bytes) + " bytes");
  }
  // The longest method, the version and the blanks fit into what is added.
  if (line == std::string_view::npos && bytes.size() > limits_.target_bytes + 64) {
    return bad(414, "the request line is too long");
  }
  scanned_ = bytes.size();
  return State::kMore;
}

RequestReader::State RequestReader::read_header(std::string_view bytes, size_t& used) {
  // Empty lines before a request are allowed; clients of old send one after a body.
  while (bytes.substr(used).starts_with("\r\n")) used += 2;
  if (used > 0) {
    scanned_ = 0;
    return State::kMore;
  }
  if (bytes.empty() || bytes == "\r") return State::kMore;
  if (!begins_method(bytes.front())) return bad(400, "the request does not begin with a method");
  constexpr std::string_view kEnd = "\r\n\r\n";
  const size_t from = scanned_ < kEnd.size() ? 0 : scanned_ - (kEnd.size() - 1);
  const size_t found = bytes.find(kEnd, from);
  if (found == std::string_view::npos) return header_incomplete(bytes);
  const size_t size = found + kEnd.size();
  if (size > limits_.header_bytes) {
    return bad(431, "the header is longer than " + std::to_string(limits_.header_bytes) + " bytes");
  }
  auto head = parse_head(bytes.substr(0, size), limits_);
  if (!head) return bad(head.error().status, head.error().message);
  head_ = *std::move(head);
  used = size;
  return begin_body();
}

RequestReader::State RequestReader::begin_body() {
  left_ = head_.chunked ? 0 : head_.length;
  stage_ = head_.chunked ? Stage::kChunkSize : Stage::kBody;
  if (too_large()) return State::kBad;
  return State::kHead;
}

bool RequestReader::too_large() {
  if (left_ <= limits_.body_bytes && body_.size() <= limits_.body_bytes - left_) return false;
  bad(413, "the body is longer than " + std::to_string(limits_.body_bytes) + " bytes");
  return true;
}

RequestReader::State RequestReader::read_body(std::string_view bytes, size_t& used) {
  if (too_large()) return State::kBad;  // limit_body() may have been called since
  used = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
  if (!drop_body_) body_.append(bytes.substr(0, used));
  left_ -= used;
  if (left_ > 0) return State::kMore;
  if (stage_ == Stage::kChunkData) {
    stage_ = Stage::kChunkEnd;
    return State::kMore;
  }
  stage_ = Stage::kDone;
  return State::kDone;
}

// The next line without its CRLF; false where it isn't complete.
bool RequestReader::take_line(std::string_view bytes, std::string_view& line, bool& wrong) {
  const size_t end = bytes.find('\n');
  line = bytes.substr(0, std::min(end, bytes.size()));
  const bool complete = end != std::string_view::npos;
  wrong = line.find('\0') != std::string_view::npos || (complete && !line.ends_with('\r'));
  if (complete && !wrong) line.remove_suffix(1);
  wrong = wrong || (complete && line.find('\r') != std::string_view::npos);
  return complete;
}

// chunk-size [ chunk-ext ] CRLF, and before each but the first the CRLF that ends a chunk's data.
RequestReader::State RequestReader::read_chunk_size(std::string_view bytes, size_t& used) {
  if (stage_ == Stage::kChunkEnd) {
    if (!std::string_view("\r\n").starts_with(bytes.substr(0, 2))) {
      return bad(400, "a chunk of the body is longer than its size says");
    }
    if (bytes.size() < 2) return State::kMore;
    used = 2;
    stage_ = Stage::kChunkSize;
    return State::kMore;
  }
  std::string_view line;
  bool wrong = false;
  const bool complete = take_line(bytes, line, wrong);
  if (wrong) return bad(400, "the line of a chunk's size is not valid");
  if (line.size() > kMaxChunkLine) return bad(400, "the line of a chunk's size is too long");
  if (!complete) return State::kMore;
  uint64_t size = 0;
  size_t digits = 0;
  for (; digits < line.size(); ++digits) {
    const char c = line[digits];
    const int value = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (value < 0) break;
    if (size >> 60 != 0) return bad(413, "the size of a chunk is too large");
    size = size * 16 + static_cast<uint64_t>(value);
  }
  const std::string_view rest = line.substr(digits);
  if (digits == 0 || (!rest.empty() && rest.front() != ';')) {
    return bad(400, "the size of a chunk is not a hexadecimal number");
  }
  used = line.size() + 2;
  left_ = size;
  if (too_large()) return State::kBad;
  stage_ = size == 0 ? Stage::kTrailer : Stage::kChunkData;
  return State::kMore;
}

// Fields after the last chunk: read, bounded and dropped.
RequestReader::State RequestReader::read_trailer(std::string_view bytes, size_t& used) {
  std::string_view line;
  bool wrong = false;
  const bool complete = take_line(bytes, line, wrong);
  if (wrong) return bad(400, "a line after the last chunk is not valid");
  if (trailer_bytes_ + line.size() > kMaxTrailer) {
    return bad(431, "the fields after the last chunk are too long");
  }
  if (!complete) return State::kMore;
  used = line.size() + 2;
  trailer_bytes_ += used;
  if (line.empty()) {
    stage_ = Stage::kDone;
    return State::kDone;
  }
  const size_t colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos || line.front() == ' ' ||
      line.front() == '\t') {
    return bad(400, "a line after the last chunk is not a field");
  }
  return State::kMore;
}

}  // namespace wingspan::serve
