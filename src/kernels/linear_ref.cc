#include <algorithm>
#include <cmath>

#include "kernels/linear.h"
#include "kernels/numerics.h"

namespace wingspan {
namespace {

float row_value(const Rows& x, int64_t m, int64_t k) {
  if (k >= x.cols) return 0;
  const std::byte* row = x.row(m);
  if (x.dtype == DType::kF32) return reinterpret_cast<const float*>(row)[k];
  if (x.dtype == DType::kBF16) return bf16_to_f32(reinterpret_cast<const uint16_t*>(row)[k]);
  return e4m3_to_f32(reinterpret_cast<const uint8_t*>(row)[k]);
}

// The weights of one column.
struct Column {
  DType dtype;
  const std::byte* data;
  PanelPlace place;
  int64_t lane;

  float at(int64_t k) const {
    const int64_t i = place.first + k / 2 * place.stride + pair_place(dtype, k % 2, lane);
    if (dtype == DType::kF32) return reinterpret_cast<const float*>(data)[i];
    if (dtype == DType::kBF16) return bf16_to_f32(reinterpret_cast<const uint16_t*>(data)[i]);
    return e4m3_to_f32(reinterpret_cast<const uint8_t*>(data)[i]);
  }
};

float chain(const Rows& x, int64_t m, const Column& w, int64_t begin, int64_t end) {
  float acc = 0;
  for (int64_t k = begin; k < end; k += 2) {
    acc = std::fma(row_value(x, m, k + 1), w.at(k + 1), acc);
    acc = std::fma(row_value(x, m, k), w.at(k), acc);
  }
  return acc;
}

// One output. `scales`: the weight's row of block scales for this column, or null.
float output(const Rows& x, int64_t m, const Column& w, const float* scales) {
  if (w.dtype != DType::kF8E4M3) return chain(x, m, w, 0, x.cols);
  float acc = 0;
  for (int64_t b = 0; b < fp8_blocks(x.cols); ++b) {
    const int64_t begin = b * kFp8Block, end = std::min<int64_t>(begin + kFp8Block, x.cols);
    const float block = chain(x, m, w, begin, end);
    const float sx = x.scale(m, b);
    acc = std::fma(block * sx, scales[b], acc);
  }
  return acc;
}

}  // namespace

void linear_ref(const LinearArgs& a) {
  const PackedWeight& w = *a.w;
  check_rows(a.x, w.dtype, w.k);
  for (int64_t p = a.panel_begin; p < a.panel_end; ++p) {
    const PanelPlace place = panel_place(w.panels(), w.k, p);
    for (int64_t lane = 0; lane < kPanel && p * kPanel + lane < w.n; ++lane) {
      const int64_t n = p * kPanel + lane;
      const float* scales =
          w.scales.size() ? w.scales.as<float>() + n / kFp8Block * fp8_blocks(w.k) : nullptr;
      for (int64_t m = 0; m < a.x.rows; ++m) {
        a.at(m, p)[lane] = output(a.x, m, {w.dtype, w.data.data(), place, lane}, scales);
      }
    }
  }
}

void gate_up_ref(const GateUpArgs& a) {
  const PackedGateUp& w = *a.w;
  check_rows(a.x, w.dtype, w.k);
  for (int64_t p = a.panel_begin; p < a.panel_end; ++p) {
    const PanelPlace gate = panel_place(2 * w.panels(), w.k, 2 * p);
    const PanelPlace up = panel_place(2 * w.panels(), w.k, 2 * p + 1);
    for (int64_t lane = 0; lane < kPanel && p * kPanel + lane < w.width; ++lane) {
      const int64_t n = p * kPanel + lane;
      const int64_t blocks = fp8_blocks(w.k);
      const float* scales =
          w.scales.size() ? w.scales.as<float>() + n / kFp8Block * blocks : nullptr;
      const float* up_scales = scales != nullptr ? scales + fp8_blocks(w.width) * blocks : nullptr;
      for (int64_t m = 0; m < a.x.rows; ++m) {
        const float g = output(a.x, m, {w.dtype, w.data.data(), gate, lane}, scales);
        const float u = output(a.x, m, {w.dtype, w.data.data(), up, lane}, up_scales);
        a.at(m, p)[lane] = silu_contract(g) * u;
      }
    }
  }
}

}  // namespace wingspan
