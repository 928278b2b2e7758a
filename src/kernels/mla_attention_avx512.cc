// Absorbed MLA attention whose scores over a BF16 cache are vdpbf16ps: each adds a pair to 16
// lanes, odd element first, which is the contract's order. Queries are BF16 already (exactly).
#include <immintrin.h>

#include <bit>

#include "kernels/avx512.h"
#include "kernels/mla_attention_tile.h"
#include "kernels/portable.h"

namespace wingspan::avx512 {
namespace {

// Queries as BF16: [heads][stride].
struct Bf16Queries {
  using Element = uint16_t;
  struct Sum {
    __m512 lanes;
  };
  static inline Sum zero() { return {_mm512_setzero_ps()}; }
  static inline float fold(Sum sum) {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sum.lanes), 1));
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sum.lanes), high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static void prepare(const float* q, int64_t stride, uint16_t* to) {
    for (int64_t i = 0; i < stride; ++i) {
      to[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(q[i]) >> 16);
    }
  }
  static inline __m512bh load(const uint16_t* p) {
    return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p));
  }
  template <int Q, int P, class T>
  static inline void scores(const uint16_t* q, const T* rows, int64_t stride, Sum (&sum)[Q][P]) {
    for (int64_t i = 0; i < stride; i += 2 * kLanes) {
      __m512bh kv[P];
      for (int t = 0; t < P; ++t) kv[t] = load(rows + t * stride + i);
      for (int h = 0; h < Q; ++h) {
        const __m512bh v = load(q + h * stride + i);
        for (int t = 0; t < P; ++t) sum[h][t].lanes = _mm512_dpbf16_ps(sum[h][t].lanes, v, kv[t]);
      }
    }
  }
};

}  // namespace

void mla_attention(const MlaAttentionArgs& a) {
  if (a.kv_dtype != DType::kBF16) return v4::mla_attention(a);
  attend<Bf16Queries, uint16_t>(a);
}

}  // namespace wingspan::avx512
