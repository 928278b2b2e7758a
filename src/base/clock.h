// Time comes in through an interface, so that a simulation can run on virtual time.
#pragma once

#include <cstdint>

namespace wingspan {

class Clock {
 public:
  virtual ~Clock() = default;
  // Nanoseconds since an arbitrary origin; never goes back.
  virtual int64_t now_ns() const = 0;
};

const Clock& system_clock();

// Seconds between two readings.
inline double seconds(int64_t from_ns, int64_t to_ns) {
  return static_cast<double>(to_ns - from_ns) * 1e-9;
}

}  // namespace wingspan
