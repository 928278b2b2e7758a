// Sixteen float32 lanes, for the portable kernels only: AVX-512, AVX2 with FMA, or plain arrays
// that a compiler vectorises where fma is part of the base instruction set. Each primitive rounds
// once, the same everywhere.
//
// Included by files that are compiled several times, so nothing here may have external linkage.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/numerics.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#endif

namespace wingspan {
namespace {

#if defined(__AVX512F__) && defined(__AVX512BW__)

struct F16 {
  __m512 v;
};
static inline F16 zero16() { return {_mm512_setzero_ps()}; }
static inline F16 set16(float x) { return {_mm512_set1_ps(x)}; }
static inline F16 load16(const float* p) { return {_mm512_loadu_ps(p)}; }
static inline void store16(float* p, F16 a) { _mm512_storeu_ps(p, a.v); }
static inline F16 fma16(F16 a, F16 b, F16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
static inline F16 add16(F16 a, F16 b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline F16 sub16(F16 a, F16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline F16 mul16(F16 a, F16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline F16 div16(F16 a, F16 b) { return {_mm512_div_ps(a.v, b.v)}; }
// a > b ? a : b
static inline F16 max16(F16 a, F16 b) { return {_mm512_max_ps(a.v, b.v)}; }
// x < y ? a : b
static inline F16 select_less16(F16 x, F16 y, F16 a, F16 b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, y.v, _CMP_LT_OQ), b.v, a.v)};
}
// bits(p) + (bits(s) << 23)
static inline F16 add_exponent16(F16 p, F16 s) {
  return {_mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_castps_si512(p.v), _mm512_slli_epi32(_mm512_castps_si512(s.v), 23)))};
}
static inline F16 load_bf16(const uint16_t* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}
static inline void load_bf16_pairs(const uint16_t* p, F16& even, F16& odd) {
  const __m512i u = _mm512_loadu_si512(p);
  even.v = _mm512_castsi512_ps(_mm512_slli_epi32(u, 16));
  odd.v =
      _mm512_castsi512_ps(_mm512_and_si512(u, _mm512_set1_epi32(static_cast<int>(0xffff0000U))));
}
static inline void load_f32_pairs(const float* p, F16& even, F16& odd) {
  const __m512 a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + 16);
  const __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i o = _mm512_add_epi32(e, _mm512_set1_epi32(1));
  even.v = _mm512_permutex2var_ps(a, e, b);
  odd.v = _mm512_permutex2var_ps(a, o, b);
}
static inline F16 decode_e4m3(__m512i code) {
  const __m512i magnitude = _mm512_and_si512(code, _mm512_set1_epi32(0x7f));
  const __m512 normal = _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_slli_epi32(magnitude, 20), _mm512_set1_epi32(120 << 23)));
  const __m512 base = _mm512_set1_ps(0x1p-7F);
  const __m512 shifted = _mm512_sub_ps(normal, base);
  const __mmask16 small = _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(8));
  __m512 value = _mm512_mask_add_ps(normal, small, shifted, shifted);
  const __mmask16 nan = _mm512_cmpeq_epi32_mask(magnitude, _mm512_set1_epi32(0x7f));
  value = _mm512_mask_blend_ps(nan, value, _mm512_set1_ps(__builtin_nanf("")));
  const __m512i sign = _mm512_slli_epi32(_mm512_and_si512(code, _mm512_set1_epi32(0x80)), 24);
  return {_mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(value), sign))};
}
static inline void load_e4m3_pairs(const uint8_t* p, F16& even, F16& odd) {
  const __m512i pair =
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  even = decode_e4m3(_mm512_and_si512(pair, _mm512_set1_epi32(0xff)));
  odd = decode_e4m3(_mm512_srli_epi32(pair, 8));
}

// One half of a pair of K for 16 columns: pairs of BF16 or of e4m3 codes. The codes' values come
// out times 1 / e4m3_row_scale(), exactly; a NaN code is not recognised.
static inline F16 bf16_even16(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
}
static inline F16 bf16_odd16(const uint16_t* p) {
  return {_mm512_castsi512_ps(
      _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(static_cast<int>(0xffff0000U))))};
}
// Shifted by one bit, a code is the float16 of its value / 256, subnormals included.
constexpr float e4m3_row_scale() { return 256.0F; }
static inline F16 half_codes16(__m256i words) {
  return {_mm512_cvtph_ps(_mm256_and_si256(_mm256_srai_epi16(words, 1),
                                           _mm256_set1_epi16(static_cast<short>(0xbf80U))))};
}
static inline F16 e4m3_even16(const uint8_t* p) {
  return half_codes16(
      _mm256_slli_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), 8));
}
static inline F16 e4m3_odd16(const uint8_t* p) {
  return half_codes16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

#elif defined(__AVX2__) && defined(__FMA__)

struct F16 {
  __m256 a, b;
};
static inline F16 zero16() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline F16 set16(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline F16 load16(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void store16(float* p, F16 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
static inline F16 fma16(F16 x, F16 y, F16 z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline F16 add16(F16 x, F16 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
static inline F16 sub16(F16 x, F16 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
static inline F16 mul16(F16 x, F16 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
static inline F16 div16(F16 x, F16 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
static inline F16 max16(F16 x, F16 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
static inline F16 select_less16(F16 x, F16 y, F16 a, F16 b) {
  return {_mm256_blendv_ps(b.a, a.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(b.b, a.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
static inline __m256 add_exponent8(__m256 p, __m256 s) {
  return _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(s), 23)));
}
static inline F16 add_exponent16(F16 p, F16 s) {
  return {add_exponent8(p.a, s.a), add_exponent8(p.b, s.b)};
}
static inline __m256 load_bf16_8(const uint16_t* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
static inline F16 load_bf16(const uint16_t* p) { return {load_bf16_8(p), load_bf16_8(p + 8)}; }
static inline void load_bf16_pairs(const uint16_t* p, F16& even, F16& odd) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000U));
  const __m256i u = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16));
  even = {_mm256_castsi256_ps(_mm256_slli_epi32(u, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(w, 16))};
  odd = {_mm256_castsi256_ps(_mm256_and_si256(u, mask)),
         _mm256_castsi256_ps(_mm256_and_si256(w, mask))};
}
static inline __m256 unzip8(__m256 x, __m256 y, bool odd) {
  const __m256 t = odd ? _mm256_shuffle_ps(x, y, 0xdd) : _mm256_shuffle_ps(x, y, 0x88);
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(t), 0xd8));
}
static inline void load_f32_pairs(const float* p, F16& even, F16& odd) {
  const __m256 a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
  const __m256 c = _mm256_loadu_ps(p + 16), d = _mm256_loadu_ps(p + 24);
  even = {unzip8(a, b, false), unzip8(c, d, false)};
  odd = {unzip8(a, b, true), unzip8(c, d, true)};
}
static inline __m256 decode_e4m3(__m256i code) {
  const __m256i magnitude = _mm256_and_si256(code, _mm256_set1_epi32(0x7f));
  const __m256 normal = _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_slli_epi32(magnitude, 20), _mm256_set1_epi32(120 << 23)));
  const __m256 shifted = _mm256_sub_ps(normal, _mm256_set1_ps(0x1p-7F));
  const __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(8), magnitude);
  __m256 value =
      _mm256_blendv_ps(normal, _mm256_add_ps(shifted, shifted), _mm256_castsi256_ps(small));
  const __m256i nan = _mm256_cmpeq_epi32(magnitude, _mm256_set1_epi32(0x7f));
  value = _mm256_blendv_ps(value, _mm256_set1_ps(__builtin_nanf("")), _mm256_castsi256_ps(nan));
  const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(code, _mm256_set1_epi32(0x80)), 24);
  return _mm256_castsi256_ps(_mm256_or_si256(_mm256_castps_si256(value), sign));
}
static inline void load_e4m3_pairs(const uint8_t* p, F16& even, F16& odd) {
  const auto* in = reinterpret_cast<const __m128i*>(p);
  const __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128(in));
  const __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128(in + 1));
  const __m256i mask = _mm256_set1_epi32(0xff);
  even = {decode_e4m3(_mm256_and_si256(low, mask)), decode_e4m3(_mm256_and_si256(high, mask))};
  odd = {decode_e4m3(_mm256_srli_epi32(low, 8)), decode_e4m3(_mm256_srli_epi32(high, 8))};
}

static inline F16 bf16_even16(const uint16_t* p) {
  const auto* in = reinterpret_cast<const __m256i*>(p);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(in), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(in + 1), 16))};
}
// By two shifts: a mask would take the register that a tile of six rows lacks, and a sum would be
// spilled.
static inline __m256 upper_halves(const __m256i* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srli_epi32(_mm256_loadu_si256(p), 16), 16));
}
static inline F16 bf16_odd16(const uint16_t* p) {
  const auto* in = reinterpret_cast<const __m256i*>(p);
  return {upper_halves(in), upper_halves(in + 1)};
}
constexpr float e4m3_row_scale() { return 256.0F; }
static inline F16 half_codes16(__m256i words) {
  const __m256i half =
      _mm256_and_si256(_mm256_srai_epi16(words, 1), _mm256_set1_epi16(static_cast<short>(0xbf80U)));
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(half)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1))};
}
static inline F16 e4m3_even16(const uint8_t* p) {
  return half_codes16(
      _mm256_slli_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), 8));
}
static inline F16 e4m3_odd16(const uint8_t* p) {
  return half_codes16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

#else

struct F16 {
  float v[16];
};
template <class Op>
static inline F16 each16(const Op& op) {
  F16 r;
  for (int j = 0; j < 16; ++j) r.v[j] = op(j);
  return r;
}
static inline F16 set16(float x) {
  return each16([&](int) { return x; });
}
static inline F16 zero16() { return set16(0); }
static inline F16 load16(const float* p) {
  return each16([&](int j) { return p[j]; });
}
static inline void store16(float* p, F16 a) { std::memcpy(p, a.v, sizeof(a.v)); }
static inline F16 fma16(const F16& a, const F16& b, const F16& c) {
  return each16([&](int j) { return __builtin_fmaf(a.v[j], b.v[j], c.v[j]); });
}
static inline F16 add16(const F16& a, const F16& b) {
  return each16([&](int j) { return a.v[j] + b.v[j]; });
}
static inline F16 sub16(const F16& a, const F16& b) {
  return each16([&](int j) { return a.v[j] - b.v[j]; });
}
static inline F16 mul16(const F16& a, const F16& b) {
  return each16([&](int j) { return a.v[j] * b.v[j]; });
}
static inline F16 div16(const F16& a, const F16& b) {
  return each16([&](int j) { return a.v[j] / b.v[j]; });
}
static inline F16 max16(const F16& a, const F16& b) {
  return each16([&](int j) { return a.v[j] > b.v[j] ? a.v[j] : b.v[j]; });
}
static inline F16 select_less16(const F16& x, const F16& y, const F16& a, const F16& b) {
  return each16([&](int j) { return x.v[j] < y.v[j] ? a.v[j] : b.v[j]; });
}
static inline F16 add_exponent16(const F16& p, const F16& s) {
  return each16([&](int j) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(p.v[j]) +
                                (std::bit_cast<uint32_t>(s.v[j]) << 23));
  });
}
static inline F16 load_bf16(const uint16_t* p) {
  return each16([&](int j) { return std::bit_cast<float>(static_cast<uint32_t>(p[j]) << 16); });
}
static inline void load_bf16_pairs(const uint16_t* p, F16& even, F16& odd) {
  even = each16([&](int j) { return std::bit_cast<float>(static_cast<uint32_t>(p[2 * j]) << 16); });
  odd = each16(
      [&](int j) { return std::bit_cast<float>(static_cast<uint32_t>(p[2 * j + 1]) << 16); });
}
static inline void load_f32_pairs(const float* p, F16& even, F16& odd) {
  even = each16([&](int j) { return p[2 * j]; });
  odd = each16([&](int j) { return p[2 * j + 1]; });
}
static inline float decode_e4m3(uint8_t code) {
  const uint32_t magnitude = code & 0x7fU, sign = (code & 0x80U) << 24;
  const float normal = std::bit_cast<float>((magnitude << 20) + (120U << 23));
  float value = magnitude < 8 ? 2 * (normal - 0x1p-7F) : normal;
  if (magnitude == 0x7f) value = __builtin_nanf("");
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}
static inline void load_e4m3_pairs(const uint8_t* p, F16& even, F16& odd) {
  even = each16([&](int j) { return decode_e4m3(p[2 * j]); });
  odd = each16([&](int j) { return decode_e4m3(p[2 * j + 1]); });
}

static inline F16 bf16_even16(const uint16_t* p) {
  return each16([&](int j) { return std::bit_cast<float>(static_cast<uint32_t>(p[2 * j]) << 16); });
}
static inline F16 bf16_odd16(const uint16_t* p) {
  return each16(
      [&](int j) { return std::bit_cast<float>(static_cast<uint32_t>(p[2 * j + 1]) << 16); });
}
constexpr float e4m3_row_scale() { return 1.0F; }
static inline F16 e4m3_even16(const uint8_t* p) {
  return each16([&](int j) { return decode_e4m3(p[2 * j]); });
}
static inline F16 e4m3_odd16(const uint8_t* p) {
  return each16([&](int j) { return decode_e4m3(p[2 * j + 1]); });
}

#endif

// keep ? what lies at p : zero. One load where that can be: of many sums at a tile's start, a
// branch would pass through the stack.
static inline F16 load_if16(bool keep, const float* p) {
#if defined(__AVX512F__) && defined(__AVX512BW__)
  return {_mm512_maskz_loadu_ps(keep ? __mmask16{0xffff} : __mmask16{0}, p)};
#else
  return keep ? load16(p) : zero16();
#endif
}

static inline float fold16(F16 a) {
  float lanes[16];
  store16(lanes, a);
  return wingspan::fold16(static_cast<const float*>(lanes));
}

// exp_contract in each lane.
static inline F16 exp16(F16 x) {
  const F16 low = set16(-87.0F), high = set16(88.0F);
  F16 clamped = select_less16(high, x, high, x);
  clamped = select_less16(x, low, low, clamped);
  const F16 round = set16(12582912.0F);
  const F16 shifted = fma16(clamped, set16(1.44269504088896341F), round);
  const F16 n = sub16(round, shifted);  // −n
  F16 r = fma16(n, set16(0.693359375F), clamped);
  r = fma16(n, set16(-2.12194440e-4F), r);
  F16 p = set16(1.0F / 720.0F);
  p = fma16(p, r, set16(1.0F / 120.0F));
  p = fma16(p, r, set16(1.0F / 24.0F));
  p = fma16(p, r, set16(1.0F / 6.0F));
  p = fma16(p, r, set16(0.5F));
  p = fma16(p, r, set16(1.0F));
  p = fma16(p, r, set16(1.0F));
  F16 y = add_exponent16(p, shifted);
  y = select_less16(high, x, set16(__builtin_inff()), y);
  return select_less16(x, low, zero16(), y);
}

// silu_contract in each lane.
static inline F16 silu16(F16 x) {
  const F16 e = exp16(sub16(zero16(), x));
  return div16(x, add16(set16(1.0F), e));
}

// The first n < 16 lanes from memory, the rest `fill`.
static inline F16 load_partial16(const float* p, int64_t n, float fill) {
  float lanes[16];
  for (int64_t j = 0; j < 16; ++j) lanes[j] = j < n ? p[j] : fill;
  return load16(lanes);
}
static inline void store_partial16(float* p, int64_t n, F16 a) {
  float lanes[16];
  store16(lanes, a);
  for (int64_t j = 0; j < n; ++j) p[j] = lanes[j];
}

}  // namespace
}  // namespace wingspan
