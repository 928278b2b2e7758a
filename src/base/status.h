// Operating errors as values: what went wrong, where, and what to do about it.
//
// Libraries return Status or Expected<T>; only cli prints and exits. Broken invariants are WS_CHECK
// (check.h), never a Status.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace wingspan {

// The exit code follows from the kind: input that the user can mend is 2, work that failed is 1.
enum class ErrorKind {
  kInvalidInput,  // a bad flag, file content, dimension or token id
  kIo,            // reading or writing failed (missing file, full disk)
  kFailed,        // the work itself failed: a check found a difference
  kPeerLost,      // another rank died or stopped answering
};

struct Error {
  ErrorKind kind = ErrorKind::kFailed;
  std::string what;   // one clause, lower case, no full stop
  std::string where;  // file, key, flag or tensor; may be empty
  std::string fix;    // what the user can do; may be empty

  // "<what> (<where>); <fix>", the parts that are empty left out; always one line.
  std::string message() const;
  // 2 for kInvalidInput, else 1.
  int exit_code() const;
};

template <class T>
using Expected = tl::expected<T, Error>;
using Status = Expected<void>;
using Unexpected = tl::unexpected<Error>;

Unexpected invalid_input(std::string what, std::string where = "", std::string fix = "");
Unexpected io_error(std::string what, std::string where = "", std::string fix = "");
Unexpected failed(std::string what, std::string where = "", std::string fix = "");
Unexpected peer_lost(std::string what, std::string where = "", std::string fix = "");

}  // namespace wingspan

#define WS_CONCAT_INNER(a, b) a##b
#define WS_CONCAT(a, b) WS_CONCAT_INNER(a, b)

// Returns the error of `expr` from the enclosing function, if it holds one.
#define WS_RETURN_IF_ERROR(expr)                                    \
  do {                                                              \
    if (auto ws_status_ = (expr); !ws_status_) {                    \
      return ::wingspan::Unexpected(std::move(ws_status_).error()); \
    }                                                               \
  } while (0)

// WS_ASSIGN(auto x, make_x()): declares or assigns x, or returns the error.
#define WS_ASSIGN(lhs, expr) WS_ASSIGN_INNER(WS_CONCAT(ws_expected_, __COUNTER__), lhs, expr)
#define WS_ASSIGN_INNER(tmp, lhs, expr)                            \
  auto tmp = (expr);                                               \
  if (!tmp) return ::wingspan::Unexpected(std::move(tmp).error()); \
  lhs = *std::move(tmp)
