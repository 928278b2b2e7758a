#include "base/refused.h"

#include <fmt/format.h>

#include <exception>
#include <system_error>

namespace wingspan {

MemoryRefused::MemoryRefused(std::size_t bytes)
    : text_(fmt::format("the system refuses {:.1f} MB of memory",
                        static_cast<double>(bytes) / 1e6)) {}

Error error_of_exception() {
  static constexpr const char* kMemory =
      "raise the limit (ulimit -v, the control group's memory), or use fewer ranks, fewer "
      "sequences "
      "or a smaller model";
  try {
    throw;
  } catch (const MemoryRefused& e) {
    return {ErrorKind::kFailed, e.what(), "memory", kMemory};
  } catch (const std::bad_alloc&) {
    return {ErrorKind::kFailed, "the system refuses memory", "memory", kMemory};
  } catch (const std::system_error& e) {
    return {
        ErrorKind::kFailed, fmt::format("the system refuses a thread: {}", e.what()), "threads",
        "raise the limits (ulimit -u and -v, the control group), or use fewer threads or ranks"};
  } catch (const std::exception& e) {
    return {ErrorKind::kFailed, fmt::format("unexpected: {}", e.what()), "", ""};
  }
}

}  // namespace wingspan
