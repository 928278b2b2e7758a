#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/mla_attention.h"
#include "kernels/numerics.h"

namespace wingspan {
namespace {

// Element i of the KV row of one position.
float kv_value(const MlaAttentionArgs& a, int64_t position, int64_t i) {
  const int64_t stride = mla_kv_stride(a.latent, a.rope);
  const std::byte* row =
      a.blocks[position / kKvBlock] + position % kKvBlock * stride * dtype_size(a.kv_dtype);
  if (a.kv_dtype == DType::kF32) return reinterpret_cast<const float*>(row)[i];
  return bf16_to_f32(reinterpret_cast<const uint16_t*>(row)[i]);
}

float score_of(const MlaAttentionArgs& a, const float* q, int64_t position) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < mla_kv_stride(a.latent, a.rope); i += 2 * kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const int64_t even = i + 2 * j;
      lanes[j] = std::fma(q[even + 1], kv_value(a, position, even + 1), lanes[j]);
      lanes[j] = std::fma(q[even], kv_value(a, position, even), lanes[j]);
    }
  }
  return a.scale * fold16(lanes);
}

void attend_row(const MlaAttentionArgs& a) {
  for (int h = 0; h < a.heads; ++h) {
    const float* q = a.q + h * a.q_stride;
    float* out = a.out + h * a.out_stride;
    std::fill(out, out + a.latent, 0.0F);
    float top = -std::numeric_limits<float>::infinity(), sum = 0;
    for (int64_t begin = 0; begin < a.positions; begin += kKvBlock) {
      const int64_t n = std::min<int64_t>(kKvBlock, a.positions - begin);
      float p[kKvBlock];
      float new_top = top;
      for (int64_t t = 0; t < n; ++t) {
        p[t] = score_of(a, q, begin + t);
        new_top = p[t] > new_top ? p[t] : new_top;
      }
      const float keep = begin == 0 ? 0.0F : exp_contract(top - new_top);
      float lanes[kLanes] = {};
      for (int64_t t = 0; t < n; ++t) {
        p[t] = exp_contract(p[t] - new_top);
        lanes[t % kLanes] += p[t];
      }
      sum = std::fma(sum, keep, fold16(lanes));
      for (int64_t c = 0; c < a.latent; ++c) {
        float acc = out[c] * keep;
        for (int64_t t = 0; t < n; ++t) acc = std::fma(p[t], kv_value(a, begin + t, c), acc);
        out[c] = acc;
      }
      top = new_top;
    }
    const float inverse = 1.0F / sum;
    for (int64_t c = 0; c < a.latent; ++c) out[c] = out[c] * inverse;
  }
}

}  // namespace

void mla_attention_ref(const MlaAttentionArgs& a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    MlaAttentionArgs row = a;
    row.q += r * a.q_row_stride;
    row.out += r * a.out_row_stride;
    row.positions += r;
    attend_row(row);
  }
}

}  // namespace wingspan
