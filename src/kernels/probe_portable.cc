// Probes of peak arithmetic and read bandwidth (probe.h).
#include "kernels/portable.h"
#include "kernels/probe.h"
#include "kernels/simd16.h"

namespace wingspan::WINGSPAN_ISA {

// Twelve independent chains hide the latency of a fused multiply-add on every CPU that has two
// ports.
float probe_fma(int64_t rounds) {
  F16 acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = set16(static_cast<float>(i));
  const F16 a = set16(0.9999F), b = set16(0.0001F);
  for (int64_t r = 0; r < rounds; ++r) {
    for (int i = 0; i < 12; ++i) acc[i] = fma16(acc[i], a, b);
  }
  F16 sum = acc[0];
  for (int i = 1; i < 12; ++i) sum = add16(sum, acc[i]);
  return fold16(sum);
}

float probe_read(const float* x, int64_t n) {
  F16 acc[4] = {zero16(), zero16(), zero16(), zero16()};
  for (int64_t i = 0; i + 64 <= n; i += 64) {
    for (int j = 0; j < 4; ++j) acc[j] = add16(acc[j], load16(x + i + 16 * j));
  }
  return fold16(add16(add16(acc[0], acc[1]), add16(acc[2], acc[3])));
}

}  // namespace wingspan::WINGSPAN_ISA
