// RMS norm: y = (x · 1/sqrt(mean(x²) + eps)) · weight, row by row.
#pragma once

#include <cstdint>

namespace wingspan {

// x, y [rows, cols], strides in floats; weight [cols]. y may be x.
// Contract: s = fold16 of 16 lanes, lane chain fma(x, x, lane); m = s / cols; r = 1 / sqrt(m +
// eps); y = (x · r) · weight, each operation rounded.
struct NormArgs {
  const float* x = nullptr;
  int64_t x_stride = 0;
  const float* weight = nullptr;
  float eps = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
  int64_t rows = 0, cols = 0;
};
void rms_norm_ref(const NormArgs& args);

}  // namespace wingspan
