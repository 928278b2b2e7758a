#include "base/clock.h"

#include <chrono>

namespace wingspan {
namespace {

class SteadyClock final : public Clock {
 public:
  int64_t now_ns() const override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace

const Clock& system_clock() {
  static const SteadyClock clock;
  return clock;
}

}  // namespace wingspan
