// The avx512 kernels on any x86-64-v3 CPU, for tests: the same source over emulated instructions.
#pragma once

#include "kernels/kernels.h"

namespace wingspan {

// Null where this build or CPU cannot (no SIMDe, no AVX2).
const Kernels* emulated_avx512();

}  // namespace wingspan
