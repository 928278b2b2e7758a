#include "model/attention_fault.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace wingspan {
namespace {

constexpr int64_t kChunk = 8;

float kv_value(const MlaAttentionArgs& a, int64_t position, int64_t i) {
  const int64_t stride = mla_kv_stride(a.latent, a.rope);
  const std::byte* row =
      a.blocks[position / kKvBlock] + position % kKvBlock * stride * dtype_size(a.kv_dtype);
  if (a.kv_dtype == DType::kF32) return reinterpret_cast<const float*>(row)[i];
  return bf16_to_f32(reinterpret_cast<const uint16_t*>(row)[i]);
}

void attend_row(const MlaAttentionArgs& a) {
  for (int h = 0; h < a.heads; ++h) {
    const float* q = a.q + h * a.q_stride;
    float* out = a.out + h * a.out_stride;
    std::fill(out, out + a.latent, 0.0F);
    float top = -std::numeric_limits<float>::infinity(), total = 0;
    for (int64_t begin = 0; begin < a.positions; begin += kChunk) {
      const int64_t end = std::min(begin + kChunk, a.positions);
      float score[kChunk];
      float new_top = top;
      for (int64_t t = begin; t < end; ++t) {
        float dot = 0;
        for (int64_t i = 0; i < a.latent + a.rope; ++i) dot += q[i] * kv_value(a, t, i);
        score[t - begin] = dot * a.scale;
        new_top = std::max(new_top, score[t - begin]);
      }
      const float keep = begin == 0 ? 0.0F : std::exp(top - new_top);
      total *= keep;
      for (int64_t i = 0; i < a.latent; ++i) out[i] *= keep;
      for (int64_t t = begin; t < end; ++t) {
        const float p = std::exp(score[t - begin] - new_top);
        total += p;
        for (int64_t i = 0; i < a.latent; ++i) out[i] += p * kv_value(a, t, i);
      }
      top = new_top;
    }
    for (int64_t i = 0; i < a.latent; ++i) out[i] /= total;
  }
}

}  // namespace

void attention_in_small_chunks(const MlaAttentionArgs& a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    MlaAttentionArgs row = a;
    row.q += r * a.q_row_stride;
    row.out += r * a.out_row_stride;
    row.positions += r;
    attend_row(row);
  }
}

}  // namespace wingspan
