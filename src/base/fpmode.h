// Subnormal numbers are zero: part of the numeric contract, since the BF16 dot product of the
// hardware always works so. Every thread that runs a kernel holds one of these.
#pragma once

#include <cstdint>

namespace wingspan {

// Sets flush-to-zero and denormals-are-zero for this thread; the destructor restores the old mode.
class FlushSubnormals {
 public:
  FlushSubnormals();
  ~FlushSubnormals();
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace wingspan
