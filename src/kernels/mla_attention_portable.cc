#include <algorithm>
#include <limits>

#include "kernels/portable.h"
#include "kernels/simd16.h"

namespace wingspan::WINGSPAN_ISA {
namespace {

// How a KV row of type T is read: pairs for scores, plain lanes for the sum.
static inline void load_pairs(const float* p, F16& even, F16& odd) { load_f32_pairs(p, even, odd); }
static inline void load_pairs(const uint16_t* p, F16& even, F16& odd) {
  load_bf16_pairs(p, even, odd);
}
static inline F16 load_lanes(const float* p) { return load16(p); }
static inline F16 load_lanes(const uint16_t* p) { return load_bf16(p); }
static inline float one_value(const float* p) { return *p; }
static inline float one_value(const uint16_t* p) { return bf16_to_f32(*p); }

template <class T>
float score_of(const float* q, const T* row, int64_t stride) {
  F16 lanes = zero16();
  for (int64_t i = 0; i < stride; i += 2 * kLanes) {
    F16 qe, qo, ke, ko;
    load_f32_pairs(q + i, qe, qo);
    load_pairs(row + i, ke, ko);
    lanes = fma16(qo, ko, lanes);
    lanes = fma16(qe, ke, lanes);
  }
  return fold16(lanes);
}

// out[c] = out[c] · keep, then the chain over the block's positions.
template <class T, int kChunks>
void add_values(const T* block, int64_t stride, const float* p, int64_t n, float keep, float* out) {
  F16 acc[kChunks];
  for (int u = 0; u < kChunks; ++u) acc[u] = mul16(load16(out + u * kLanes), set16(keep));
  for (int64_t t = 0; t < n; ++t) {
    const F16 weight = set16(p[t]);
    for (int u = 0; u < kChunks; ++u) {
      acc[u] = fma16(weight, load_lanes(block + t * stride + u * kLanes), acc[u]);
    }
  }
  for (int u = 0; u < kChunks; ++u) store16(out + u * kLanes, acc[u]);
}

template <class T>
void add_block(const T* block, int64_t stride, const float* p, int64_t n, float keep,
               int64_t latent, float* out) {
  int64_t c = 0;
  for (; c + 8 * kLanes <= latent; c += 8 * kLanes) {
    add_values<T, 8>(block + c, stride, p, n, keep, out + c);
  }
  for (; c + kLanes <= latent; c += kLanes) {
    add_values<T, 1>(block + c, stride, p, n, keep, out + c);
  }
  for (; c < latent; ++c) {
    float acc = out[c] * keep;
    for (int64_t t = 0; t < n; ++t) {
      acc = __builtin_fmaf(p[t], one_value(block + t * stride + c), acc);
    }
    out[c] = acc;
  }
}

template <class T>
void attend_head(const MlaAttentionArgs& a, const float* q, float* out) {
  const int64_t stride = mla_kv_stride(a.latent, a.rope);
  for (int64_t c = 0; c < a.latent; ++c) out[c] = 0;
  float top = -std::numeric_limits<float>::infinity(), sum = 0;
  for (int64_t begin = 0; begin < a.positions; begin += kKvBlock) {
    const auto* block = reinterpret_cast<const T*>(a.blocks[begin / kKvBlock]);
    const int64_t left = a.positions - begin, n = left < kKvBlock ? left : kKvBlock;
    float p[kKvBlock];
    float new_top = top;
    for (int64_t t = 0; t < n; ++t) {
      p[t] = a.scale * score_of(q, block + t * stride, stride);
      new_top = p[t] > new_top ? p[t] : new_top;
    }
    // Beyond n: −infinity, whose exponential is 0 and adds nothing to a lane.
    for (int64_t t = n; t < kKvBlock; ++t) p[t] = -std::numeric_limits<float>::infinity();
    const float keep = begin == 0 ? 0.0F : exp_contract(top - new_top);
    F16 lanes = zero16();
    const F16 shift = set16(new_top);
    for (int64_t t = 0; t < kKvBlock; t += kLanes) {
      const F16 e = exp16(sub16(load16(p + t), shift));
      store16(p + t, e);
      lanes = add16(lanes, e);
    }
    sum = __builtin_fmaf(sum, keep, fold16(lanes));
    add_block(block, stride, p, n, keep, a.latent, out);
    top = new_top;
  }
  const float inverse = 1.0F / sum;
  for (int64_t c = 0; c < a.latent; ++c) out[c] = out[c] * inverse;
}

}  // namespace

void mla_attention(const MlaAttentionArgs& a) {
  for (int h = 0; h < a.heads; ++h) {
    const float* q = a.q + h * a.q_stride;
    float* out = a.out + h * a.out_stride;
    if (a.kv_dtype == DType::kF32) {
      attend_head<float>(a, q, out);
    } else {
      attend_head<uint16_t>(a, q, out);
    }
  }
}

}  // namespace wingspan::WINGSPAN_ISA
