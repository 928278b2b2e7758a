#include "base/status.h"

namespace wingspan {
namespace {

void append_one_line(std::string& out, const std::string& text) {
  for (char c : text) out += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? ' ' : c;
}

Unexpected make(ErrorKind kind, std::string what, std::string where, std::string fix) {
  return Unexpected(Error{kind, std::move(what), std::move(where), std::move(fix)});
}

}  // namespace

std::string Error::message() const {
  std::string out;
  append_one_line(out, what);
  if (!where.empty()) {
    out += " (";
    append_one_line(out, where);
    out += ')';
  }
  if (!fix.empty()) {
    out += "; ";
    append_one_line(out, fix);
  }
  return out;
}

int Error::exit_code() const { return kind == ErrorKind::kInvalidInput ? 2 : 1; }

Unexpected invalid_input(std::string what, std::string where, std::string fix) {
  return make(ErrorKind::kInvalidInput, std::move(what), std::move(where), std::move(fix));
}
Unexpected io_error(std::string what, std::string where, std::string fix) {
  return make(ErrorKind::kIo, std::move(what), std::move(where), std::move(fix));
}
Unexpected failed(std::string what, std::string where, std::string fix) {
  return make(ErrorKind::kFailed, std::move(what), std::move(where), std::move(fix));
}
Unexpected peer_lost(std::string what, std::string where, std::string fix) {
  return make(ErrorKind::kPeerLost, std::move(what), std::move(where), std::move(fix));
}

}  // namespace wingspan
