// Invariants, checked in every build. A failure prints the condition and the values, then aborts:
// it is a bug of ours, never of the user's input.
#pragma once

#include <fmt/format.h>

#include <string>

namespace wingspan {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& values);

}  // namespace wingspan

// WS_CHECK(cond) or WS_CHECK(cond, "fmt {}", value...).
#define WS_CHECK(cond, ...)                                                               \
  do {                                                                                    \
    if (!(cond)) [[unlikely]]                                                             \
      ::wingspan::check_failed(__FILE__, __LINE__, #cond, ::fmt::format("" __VA_ARGS__)); \
  } while (0)
