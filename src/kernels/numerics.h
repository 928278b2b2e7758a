// The numeric contract of every op, spelled out once. Reference, portable and AVX-512 kernels equal
// these definitions bit for bit (docs/exactness.md, rule 6).
//
//  * float32, round to nearest even, subnormals are zero on input and output (base/fpmode.h).
//  * fma(a, b, c) is one rounding. Where no fma is written, each operation rounds by itself; all
//    files are compiled with -ffp-contract=off.
//  * A chain over K ("pair order"): acc = 0; for each pair i: acc = fma(x[2i+1], w[2i+1], acc),
//  then
//    acc = fma(x[2i], w[2i], acc). An odd K is padded with zeros. This is what vdpbf16ps does for
//    BF16 inputs (checked on 64 million random dot products), and what float32 and FP8 do here as
//    well, so that one order serves all formats.
//  * 16 virtual lanes: lane j of a sum over n elements takes the elements i with i % 16 == j in
//    ascending order; fold16 adds lane j + 8 to lane j (j < 8), then + 4, + 2, + 1.
//  * 16 virtual lanes in pair order (dot products along a row): lane j takes the elements
//    32·i + 2j + 1, then 32·i + 2j, for ascending i; then fold16. Zero padding to 32.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace wingspan {

constexpr int kLanes = 16;

// ((l0+l8)+(l4+l12)) + … : halves onto halves.
static inline float fold16(const float* lanes) {
  float t[8];
  for (int j = 0; j < 8; ++j) t[j] = lanes[j] + lanes[j + 8];
  for (int j = 0; j < 4; ++j) t[j] = t[j] + t[j + 4];
  for (int j = 0; j < 2; ++j) t[j] = t[j] + t[j + 2];
  return t[0] + t[1];
}

// e^x: 0 below −87, +infinity above 88; else 2^n · p(r) with n = round(x·log2 e) and r = x − n·ln 2
// in two fma steps, p the degree-6 Taylor polynomial by Horner and fma. Relative error below 2e-7.
// NaN gives NaN.
static inline float exp_contract(float x) {
  constexpr float kLog2E = 1.44269504088896341F;
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // 1.5·2^23: adding it rounds to an integer
  // Comparisons by select, not by branch, so that a compiler can vectorise a loop over this.
  const float clamped = x < -87.0F ? -87.0F : (x > 88.0F ? 88.0F : x);
  const float shifted = std::fma(clamped, kLog2E, kRound);
  const float n = shifted - kRound;
  float r = std::fma(-n, kLn2High, clamped);
  r = std::fma(-n, kLn2Low, r);
  float p = 1.0F / 720.0F;
  p = std::fma(p, r, 1.0F / 120.0F);
  p = std::fma(p, r, 1.0F / 24.0F);
  p = std::fma(p, r, 1.0F / 6.0F);
  p = std::fma(p, r, 0.5F);
  p = std::fma(p, r, 1.0F);
  p = std::fma(p, r, 1.0F);
  // shifted's low bits hold n in two's complement; shifting by 23 drops all but n's own bits.
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) << 23;
  const float scaled = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + exponent);
  const float high = x > 88.0F ? std::bit_cast<float>(0x7f800000U) : scaled;
  return x < -87.0F ? 0.0F : high;
}

// 1 / (1 + e^−x).
static inline float sigmoid_contract(float x) { return 1.0F / (1.0F + exp_contract(-x)); }

// x · sigmoid(x), as x / (1 + e^−x).
static inline float silu_contract(float x) { return x / (1.0F + exp_contract(-x)); }

// Natural logarithm in double by a fixed series (no libm), for log probabilities; x > 0, finite.
double log_contract(double x);

}  // namespace wingspan
