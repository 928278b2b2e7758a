// The row-wise ops, 16 lanes at a time: norm, softmax, sigmoid, combine, rotary, rounding.
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/portable.h"
#include "kernels/simd16.h"

namespace wingspan::WINGSPAN_ISA {

void rms_norm(const NormArgs& a) {
  const int64_t whole = a.cols / kLanes * kLanes, rest = a.cols - whole;
  for (int64_t r = 0; r < a.rows; ++r) {
    const float* x = a.x + r * a.x_stride;
    float* y = a.y + r * a.y_stride;
    F16 lanes = zero16();
    for (int64_t i = 0; i < whole; i += kLanes) {
      const F16 v = load16(x + i);
      lanes = fma16(v, v, lanes);
    }
    if (rest > 0) {
      const F16 v = load_partial16(x + whole, rest, 0);
      lanes = fma16(v, v, lanes);
    }
    const float mean = fold16(lanes) / static_cast<float>(a.cols);
    const float inverse = 1.0F / std::sqrt(mean + a.eps);
    const F16 scale = set16(inverse);
    for (int64_t i = 0; i < whole; i += kLanes) {
      store16(y + i, mul16(mul16(load16(x + i), scale), load16(a.weight + i)));
    }
    for (int64_t i = whole; i < a.cols; ++i) y[i] = (x[i] * inverse) * a.weight[i];
  }
}

LogSumExp log_sum_exp(const float* x, int64_t n) {
  constexpr float kLow = -std::numeric_limits<float>::infinity();
  const int64_t whole = n / kLanes * kLanes, rest = n - whole;
  F16 tops = set16(kLow);
  for (int64_t i = 0; i < whole; i += kLanes) tops = max16(load16(x + i), tops);
  if (rest > 0) tops = max16(load_partial16(x + whole, rest, kLow), tops);
  float lanes[kLanes];
  store16(lanes, tops);
  float top = kLow;
  for (float v : lanes) top = v > top ? v : top;
  const F16 shift = set16(top);
  F16 sums = zero16();
  for (int64_t i = 0; i < whole; i += kLanes)
    sums = add16(sums, exp16(sub16(load16(x + i), shift)));
  if (rest > 0) {
    store16(lanes, exp16(sub16(load_partial16(x + whole, rest, 0), shift)));
    sums = add16(sums, load_partial16(lanes, rest, 0));
  }
  return {top, fold16(sums)};
}

void softmax(const float* x, int64_t n, float* p) {
  const LogSumExp s = log_sum_exp(x, n);
  const F16 shift = set16(s.max), sum = set16(s.sum);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store16(p + i, div16(exp16(sub16(load16(x + i), shift)), sum));
  }
  if (i < n) {
    store_partial16(p + i, n - i, div16(exp16(sub16(load_partial16(x + i, n - i, 0), shift)), sum));
  }
}

void combine(const float* const* rows, const float* weights, int count, int64_t cols, float* out) {
  int64_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) {
    F16 acc = zero16();
    for (int j = 0; j < count; ++j) acc = fma16(set16(weights[j]), load16(rows[j] + c), acc);
    store16(out + c, acc);
  }
  for (; c < cols; ++c) {
    float acc = 0;
    for (int j = 0; j < count; ++j) acc = __builtin_fmaf(weights[j], rows[j][c], acc);
    out[c] = acc;
  }
}

void sigmoid(const float* x, int64_t n, float* p) {
  const F16 one = set16(1.0F);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store16(p + i, div16(one, add16(one, exp16(sub16(zero16(), load16(x + i))))));
  }
  if (i == n) return;
  const F16 rest = load_partial16(x + i, n - i, 0);
  store_partial16(p + i, n - i, div16(one, add16(one, exp16(sub16(zero16(), rest)))));
}

void rope(float* x, const float* cos, const float* sin, int dim) {
  for (int i = 0; i < dim / 2; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = __builtin_fmaf(a, cos[i], -(b * sin[i]));
    x[2 * i + 1] = __builtin_fmaf(b, cos[i], a * sin[i]);
  }
}

// The rounded value in the upper half of its float32; without a branch, so that loops vectorise.
static inline uint32_t rounded_bits(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t nearest = bits + 0x7fffU + ((bits >> 16) & 1U);
  const auto magnitude = static_cast<int32_t>(bits & 0x7fffffffU);
  return magnitude > 0x7f800000 ? bits | 0x400000U : nearest;
}

void narrow_bf16(const float* x, int64_t n, uint16_t* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<uint16_t>(rounded_bits(x[i]) >> 16);
}

void round_bf16(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = std::bit_cast<float>(rounded_bits(x[i]) & 0xffff0000U);
}

}  // namespace wingspan::WINGSPAN_ISA
