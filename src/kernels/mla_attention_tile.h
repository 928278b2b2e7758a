// The tiles of absorbed MLA attention over 16 lanes, for the fast kernels only. A tile holds up to
// kTileQueries heads of one row, so a KV value that was read and widened serves all of them; the
// chain of each head is the contract's (mla_attention.h).
//
// Included by files that are compiled several times, so nothing here may have external linkage.
#pragma once

#include <limits>

#include "kernels/mla_attention.h"
#include "kernels/simd16.h"
#include "tensor/buffer.h"

namespace wingspan {
namespace {

// Sums of a tile fill at most three quarters of the registers.
#if defined(__AVX512F__) && defined(__AVX512BW__)
inline constexpr int kTileQueries = 6, kTilePositions = 4, kTileChunks = 4;
#elif defined(__AVX2__) && defined(__FMA__)
inline constexpr int kTileQueries = 6, kTilePositions = 1, kTileChunks = 1;
#else
inline constexpr int kTileQueries = 2, kTilePositions = 1, kTileChunks = 1;
#endif

// How a KV row of type T is read: pairs for scores, plain lanes for the sum.
static inline void load_pairs(const float* p, F16& even, F16& odd) { load_f32_pairs(p, even, odd); }
static inline void load_pairs(const uint16_t* p, F16& even, F16& odd) {
  load_bf16_pairs(p, even, odd);
}
static inline F16 load_lanes(const float* p) { return load16(p); }
static inline F16 load_lanes(const uint16_t* p) { return load_bf16(p); }
static inline float one_value(const float* p) { return *p; }
static inline float one_value(const uint16_t* p) { return bf16_to_f32(*p); }

// fold16 without a way through memory.
static inline float fold_lanes(F16 x) {
#if defined(__AVX2__) && defined(__FMA__)
#if defined(__AVX512F__) && defined(__AVX512BW__)
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
#else
  const __m256 eight = _mm256_add_ps(x.a, x.b);
#endif
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
  return fold16(x);
#endif
}

// Queries with the even and the odd elements of each 32 apart: [heads][stride].
struct PairQueries {
  using Element = float;
  using Sum = F16;  // 16 lanes
  static inline F16 zero() { return zero16(); }
  static inline float fold(F16 sum) { return fold_lanes(sum); }
  static void prepare(const float* q, int64_t stride, float* to) {
    for (int64_t i = 0; i < stride; i += 2 * kLanes) {
      F16 even, odd;
      load_f32_pairs(q + i, even, odd);
      store16(to + i, even);
      store16(to + i + kLanes, odd);
    }
  }
  template <int Q, int P, class T>
  static inline void scores(const float* q, const T* rows, int64_t stride, F16 (&sum)[Q][P]) {
    for (int64_t i = 0; i < stride; i += 2 * kLanes) {
      F16 even[P], odd[P];
      for (int t = 0; t < P; ++t) load_pairs(rows + t * stride + i, even[t], odd[t]);
      for (int h = 0; h < Q; ++h) {
        const F16 v = load16(q + h * stride + i + kLanes);
        for (int t = 0; t < P; ++t) sum[h][t] = fma16(v, odd[t], sum[h][t]);
      }
      for (int h = 0; h < Q; ++h) {
        const F16 v = load16(q + h * stride + i);
        for (int t = 0; t < P; ++t) sum[h][t] = fma16(v, even[t], sum[h][t]);
      }
    }
  }
};

// p[h][t] = scale · (q_h · kv_t) for P positions from `t` on.
template <class Queries, int Q, int P, class T>
void score_positions(const typename Queries::Element* q, const T* block, int64_t stride, int64_t t,
                     float scale, float (*p)[kKvBlock]) {
  typename Queries::Sum sum[Q][P];
  for (int h = 0; h < Q; ++h) {
    for (int u = 0; u < P; ++u) sum[h][u] = Queries::zero();
  }
  Queries::template scores<Q, P>(q, block + t * stride, stride, sum);
  for (int h = 0; h < Q; ++h) {
    for (int u = 0; u < P; ++u) p[h][t + u] = scale * Queries::fold(sum[h][u]);
  }
}

// From scores to weights: p_t = exp(score_t − m'), 0 from n on. Returns the factor of what was
// summed before.
static inline float to_weights(float* p, int64_t n, bool first, float& top, float& sum) {
  constexpr float kLow = -std::numeric_limits<float>::infinity();
  for (int64_t t = n; t < kKvBlock; ++t) p[t] = kLow;
  F16 tops = set16(top);
  for (int64_t t = 0; t < kKvBlock; t += kLanes) tops = max16(load16(p + t), tops);
  float lanes[kLanes];
  store16(lanes, tops);
  float new_top = top;
  for (float v : lanes) new_top = v > new_top ? v : new_top;
  const float keep = first ? 0.0F : exp_contract(top - new_top);
  const F16 shift = set16(new_top);
  F16 sums = zero16();
  for (int64_t t = 0; t < kKvBlock; t += kLanes) {
    F16 e = exp16(sub16(load16(p + t), shift));
    store16(p + t, e);
    if (t + kLanes > n) [[unlikely]] {
      for (int64_t u = n > t ? n : t; u < t + kLanes; ++u) p[u] = 0;
      e = load16(p + t);
    }
    sums = add16(sums, e);
  }
  sum = __builtin_fmaf(sum, keep, fold_lanes(sums));
  top = new_top;
  return keep;
}

// out[c] = out[c] · keep, then the chain over the block's positions, for C · 16 columns.
template <int Q, int C, class T>
void add_values(const T* values, int64_t stride, const float (*p)[kKvBlock], int64_t n,
                const float* keep, float* out, int64_t out_stride) {
  F16 acc[Q][C];
  for (int h = 0; h < Q; ++h) {
    const F16 factor = set16(keep[h]);
    for (int u = 0; u < C; ++u) {
      acc[h][u] = mul16(load16(out + h * out_stride + u * kLanes), factor);
    }
  }
  for (int64_t t = 0; t < n; ++t) {
    F16 v[C];
    for (int u = 0; u < C; ++u) v[u] = load_lanes(values + t * stride + u * kLanes);
    for (int h = 0; h < Q; ++h) {
      const F16 weight = set16(p[h][t]);
      for (int u = 0; u < C; ++u) acc[h][u] = fma16(weight, v[u], acc[h][u]);
    }
  }
  for (int h = 0; h < Q; ++h) {
    for (int u = 0; u < C; ++u) store16(out + h * out_stride + u * kLanes, acc[h][u]);
  }
}

// Running maximum and sum of a head.
struct HeadState {
  float top, sum;
};

// One block, n ≤ 64 visible positions, Q heads of one row.
template <class Queries, int Q, class T>
void attend_block(const MlaAttentionArgs& a, const typename Queries::Element* q, const T* block,
                  int64_t n, bool first, HeadState* state, float* out) {
  const int64_t stride = mla_kv_stride(a.latent, a.rope);
  float p[Q][kKvBlock];
  int64_t t = 0;
  for (; t + kTilePositions <= n; t += kTilePositions) {
    score_positions<Queries, Q, kTilePositions>(q, block, stride, t, a.scale, p);
  }
  for (; t < n; ++t) score_positions<Queries, Q, 1>(q, block, stride, t, a.scale, p);
  float keep[Q];
  for (int h = 0; h < Q; ++h) keep[h] = to_weights(p[h], n, first, state[h].top, state[h].sum);
  int64_t c = 0;
  for (; c + kTileChunks * kLanes <= a.latent; c += kTileChunks * kLanes) {
    add_values<Q, kTileChunks>(block + c, stride, p, n, keep, out + c, a.out_stride);
  }
  for (; c + kLanes <= a.latent; c += kLanes) {
    add_values<Q, 1>(block + c, stride, p, n, keep, out + c, a.out_stride);
  }
  for (; c < a.latent; ++c) {
    for (int h = 0; h < Q; ++h) {
      float acc = out[h * a.out_stride + c] * keep[h];
      for (int64_t u = 0; u < n; ++u) {
        acc = __builtin_fmaf(p[h][u], one_value(block + u * stride + c), acc);
      }
      out[h * a.out_stride + c] = acc;
    }
  }
}

template <class Queries, int Q, class T>
void attend_heads(int heads, const MlaAttentionArgs& a, const typename Queries::Element* q,
                  const T* block, int64_t n, bool first, HeadState* state, float* out) {
  if constexpr (Q > 0) {
    if (heads == Q) return attend_block<Queries, Q>(a, q, block, n, first, state, out);
    return attend_heads<Queries, Q - 1>(heads, a, q, block, n, first, state, out);
  }
}

// Blocks outermost: one that was read from memory serves all rows and heads of the call.
template <class Queries, class T>
void attend(const MlaAttentionArgs& a) {
  using Element = typename Queries::Element;
  const int64_t stride = mla_kv_stride(a.latent, a.rope), queries = a.rows * a.heads;
  static thread_local Buffer scratch;
  const auto size = static_cast<size_t>(queries) *
                    (sizeof(HeadState) + static_cast<size_t>(stride) * sizeof(Element));
  if (scratch.size() < size) scratch = Buffer(size);
  auto* prepared = scratch.as<Element>();
  auto* states = reinterpret_cast<HeadState*>(prepared + queries * stride);
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int h = 0; h < a.heads; ++h) {
      const int64_t i = r * a.heads + h;
      Queries::prepare(a.q + r * a.q_row_stride + h * a.q_stride, stride, prepared + i * stride);
      states[i] = {-std::numeric_limits<float>::infinity(), 0};
      float* out = a.out + r * a.out_row_stride + h * a.out_stride;
      for (int64_t c = 0; c < a.latent; ++c) out[c] = 0;
    }
  }
  const int tiles = (a.heads + kTileQueries - 1) / kTileQueries;
  for (int64_t begin = 0; begin < a.positions + a.rows - 1; begin += kKvBlock) {
    const auto* block = reinterpret_cast<const T*>(a.blocks[begin / kKvBlock]);
    for (int64_t r = 0; r < a.rows; ++r) {
      const int64_t left = a.positions + r - begin, n = left < kKvBlock ? left : kKvBlock;
      if (n <= 0) continue;
      for (int tile = 0; tile < tiles; ++tile) {
        const int h = a.heads * tile / tiles, end = a.heads * (tile + 1) / tiles;
        const int64_t i = r * a.heads + h;
        attend_heads<Queries, kTileQueries>(end - h, a, prepared + i * stride, block, n, begin == 0,
                                            states + i,
                                            a.out + r * a.out_row_stride + h * a.out_stride);
      }
    }
  }
  for (int64_t i = 0; i < queries; ++i) {
    const float inverse = 1.0F / states[i].sum;
    float* out = a.out + i / a.heads * a.out_row_stride + i % a.heads * a.out_stride;
    for (int64_t c = 0; c < a.latent; ++c) out[c] = out[c] * inverse;
  }
}

}  // namespace
}  // namespace wingspan
