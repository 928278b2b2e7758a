// What this machine can do at most, measured with the instructions that the kernels use: the limit
// that benchmarks are compared with.
#pragma once

#include <cstdint>

namespace wingspan {

// Floating-point operations of one round of a kernel table's probe_fma.
constexpr int64_t kProbeFmaFlops = 12 * 16 * 2;

}  // namespace wingspan
