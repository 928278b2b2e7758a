// Stands before the compiler's own header when the avx512 kernels are compiled for the tests of a
// CPU without AVX-512: SIMDe (Debian: libsimde-dev) spells out the instructions, and the BF16 dot
// product is the contract's order (kernels/numerics.h).
#pragma once

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

inline __m512 emulated_dpbf16(__m512 sum, __m512bh a, __m512bh b) {
  float s[16];
  unsigned x[16], y[16];
  __builtin_memcpy(s, &sum, sizeof s);
  __builtin_memcpy(x, &a, sizeof x);
  __builtin_memcpy(y, &b, sizeof y);
  for (int j = 0; j < 16; ++j) {
    const unsigned odd[2] = {x[j] & 0xffff0000U, y[j] & 0xffff0000U};
    const unsigned even[2] = {x[j] << 16U, y[j] << 16U};
    float u[2], v[2];
    __builtin_memcpy(u, odd, sizeof u);
    __builtin_memcpy(v, even, sizeof v);
    s[j] = __builtin_fmaf(v[0], v[1], __builtin_fmaf(u[0], u[1], s[j]));
  }
  __builtin_memcpy(&sum, s, sizeof s);
  return sum;
}
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps emulated_dpbf16

// Missing in SIMDe 0.7.4. As the instruction, reads nothing where the mask is zero.
inline __m512 emulated_maskz_loadu(__mmask16 keep, const float* p) {
  float lanes[16];
  for (int j = 0; j < 16; ++j) lanes[j] = (keep >> j & 1) != 0 ? p[j] : 0.0F;
  return _mm512_loadu_ps(lanes);
}
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps emulated_maskz_loadu
