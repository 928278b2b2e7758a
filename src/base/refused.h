// What the operating system refuses at start: memory, threads. Thrown where it happens, and turned
// into an error by whoever owns a rank or the program.
#pragma once

#include <cstddef>
#include <new>
#include <string>

#include "base/status.h"

namespace wingspan {

// Of a large allocation, whose size is worth telling.
class MemoryRefused final : public std::bad_alloc {
 public:
  explicit MemoryRefused(std::size_t bytes);
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

// The exception that is being handled, as an error that says what to do. Call it in a catch block.
Error error_of_exception();

}  // namespace wingspan
