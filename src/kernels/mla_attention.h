// Absorbed MLA attention over KV blocks: the rows of a chunk of one sequence, some heads. Rows and
// heads share each KV block that is read.
//
//   score_t = scale · (q · kv_t)    q = [q·UK (latent) ‖ q_rope], kv_t = [c_t ‖ k_rope_t]
//   out     = Σ_t softmax(score)_t · c_t       [latent]
//
// Contract (numerics.h): q · kv_t by 16 lanes in pair order over latent + rope elements, padded
// with zeros to a multiple of 32. Blocks ascending; in a block of n ≤ 64 valid positions:
//   m' = max(m, max score); a = exp(m − m') (0 for the first block); p_t = exp(score_t − m');
//   l = fma(l, a, fold16 of p by 16 lanes);  out[c] = out[c] · a, then fma(p_t, c_t[c], out[c]), t
//   ascending.
// At the end out[c] = out[c] · (1 / l). A position sees itself and those before it; nothing else
// enters, so the bits depend on the token sequence alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace wingspan {

constexpr int kKvBlock = 64;  // positions of a KV block

// Elements from one position's row to the next in a KV block, a multiple of 32.
inline int64_t mla_kv_stride(int64_t latent, int64_t rope) {
  return (latent + rope + 31) / 32 * 32;
}

struct MlaAttentionArgs {
  // q [rows][heads][q_stride] float32, zero-padded to mla_kv_stride; for a BF16 cache already
  // rounded to BF16. From row to row q_row_stride floats.
  const float* q = nullptr;
  int64_t q_stride = 0, q_row_stride = 0;
  int64_t rows = 1;
  int heads = 0;
  int64_t latent = 0, rope = 0;
  // blocks[b] points at block b of this sequence: [64][mla_kv_stride] of kv_dtype (kF32, kBF16).
  const std::byte* const* blocks = nullptr;
  DType kv_dtype = DType::kF32;
  int64_t positions = 0;  // visible to the first row: its own position + 1; each next row sees one
                          // more
  float scale = 1;
  float* out = nullptr;  // [rows][heads][latent]
  int64_t out_stride = 0, out_row_stride = 0;
};
void mla_attention_ref(const MlaAttentionArgs& args);

}  // namespace wingspan
