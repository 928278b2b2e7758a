// What this machine can do at most, measured with the instructions that the kernels use: the limit
// that benchmarks are compared with.
#pragma once

#include <cstdint>

namespace wingspan {

// Floating-point operations of one round of a kernel table's probe_fma.
constexpr int64_t kProbeFmaFlops = 12 * 16 * 2;
// The same of a probe_bf16 that has BF16 dot products; one that has not is probe_fma.
constexpr int64_t kProbeBf16Flops = 12 * 32 * 2;

}  // namespace wingspan
