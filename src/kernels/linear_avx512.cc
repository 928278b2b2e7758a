// GEMM by vdpbf16ps: each instruction adds one pair of K for 16 columns, odd element first, which
// is the contract's chain (numerics.h). BF16 weights as they are; FP8 weights are decoded to BF16
// in registers by byte permutes, or once for several tiles of rows. e4m3 is exact in BF16, so BF16
// and FP8 rows take the same path. Float32 weights and rows go to the portable kernels.
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/linear_driver.h"
#include "kernels/portable.h"

namespace wingspan::avx512 {
namespace {

inline __m512bh as_pairs(__m512i v) { return reinterpret_cast<__m512bh>(v); }

// BF16 weights of `P` panels for one pair of K.
struct Bf16Load {
  static constexpr int kElementBytes = 2;
  template <int P>
  inline void load(const std::byte* w, __m512i (&out)[P]) const {
    for (int p = 0; p < P; ++p) out[p] = _mm512_loadu_si512(w + p * 64);
  }
};

// The low and the high byte of the BF16 value of each e4m3 code without its sign.
struct alignas(64) CodeTable {
  uint8_t low[128], high[128];
};
constexpr CodeTable make_code_table() {
  CodeTable t{};
  for (unsigned code = 0; code < 128; ++code) {
    const unsigned exponent = code >> 3U, fraction = code & 7U;
    unsigned value = (exponent + 120U) << 7U | fraction << 4U;
    if (exponent == 0) {
      const unsigned top = fraction >= 4 ? 2 : fraction >= 2 ? 1 : 0;  // a subnormal's leading bit
      value = fraction == 0 ? 0 : (118U + top) << 7U | (fraction << (7U - top) & 0x7fU);
    }
    if (code == 0x7f) value = 0x7fc0;
    t.low[code] = static_cast<uint8_t>(value);
    t.high[code] = static_cast<uint8_t>(value >> 8U);
  }
  return t;
}
constexpr CodeTable kCodes = make_code_table();

// e4m3 codes to BF16: both bytes by tables of two registers each, then interleaved. 64 codes (two
// panels) take two lookups.
struct Fp8Load {
  static constexpr int kElementBytes = 1;
  __m512i low[2], high[2], order, sign;

  Fp8Load() {
    for (int half = 0; half < 2; ++half) {
      low[half] = _mm512_load_si512(kCodes.low + half * 64);
      high[half] = _mm512_load_si512(kCodes.high + half * 64);
    }
    // Unpacking works within 128 bits: each lane gets 8 codes of the first panel, 8 of the second.
    order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    sign = _mm512_set1_epi8(static_cast<char>(0x80));
  }

  inline void decode(__m512i codes, __m512i& first, __m512i& second) const {
    codes = _mm512_permutexvar_epi64(order, codes);
    const __m512i l = _mm512_permutex2var_epi8(low[0], codes, low[1]);
    __m512i h = _mm512_permutex2var_epi8(high[0], codes, high[1]);
    h = _mm512_ternarylogic_epi64(h, codes, sign, 0xf8);  // h | (codes & sign)
    first = _mm512_unpacklo_epi8(l, h);
    second = _mm512_unpackhi_epi8(l, h);
  }
  template <int P>
  inline void load(const std::byte* w, __m512i (&out)[P]) const {
    for (int p = 0; p + 1 < P; p += 2) decode(_mm512_loadu_si512(w + p * 32), out[p], out[p + 1]);
    if constexpr (P % 2 != 0) {
      __m512i unused;
      const auto* last = reinterpret_cast<const __m256i*>(w + (P - 1) * 32);
      decode(_mm512_inserti64x4(_mm512_setzero_si512(), _mm256_loadu_si256(last), 0), out[P - 1],
             unused);
    }
  }
};

// Adds a block to the sums of H rows in P panels: 24 of 32 registers hold sums in the tallest tile.
template <class Load, int H, int P, int kShares, bool kScaled>
void tile_panels(const TileArgs& t) {
  const auto* x = static_cast<const uint32_t*>(t.x);
  const std::byte* w = t.w;
  const Load weights;
  float* const sums = t.sums;
  const __mmask16 keep = t.first ? 0 : 0xffff;  // a branch would pass through the stack
  __m512 acc[H][P];
  for (int m = 0; m < H; ++m) {
    for (int p = 0; p < P; ++p) {
      acc[m][p] = kScaled ? _mm512_setzero_ps()
                          : _mm512_maskz_loadu_ps(keep, sums + m * kRowSums + p * kPanel);
    }
  }
  Ahead<P, P * 2 * kPanel * Load::kElementBytes, kShares> ahead(t, 0);
  const int64_t stride = t.w_stride;
  int64_t left = t.pairs;
  do {  // at least once: a way around the loop, too
    ahead.fetch();
    __m512i v[P];
    weights.template load<P>(w, v);
    for (int m = 0; m < H; ++m) {
      const __m512bh value = as_pairs(_mm512_set1_epi32(static_cast<int>(x[m])));
      for (int p = 0; p < P; ++p) acc[m][p] = _mm512_dpbf16_ps(acc[m][p], value, as_pairs(v[p]));
    }
    x += H;
    w += stride;
  } while (--left != 0);
#pragma GCC unroll 6  // a loop would take the sums from the stack
  for (int m = 0; m < H; ++m) {
    for (int p = 0; p < P; ++p) {
      float* const sum = sums + m * kRowSums + p * kPanel;
      if constexpr (kScaled) {
        const __m512 block = _mm512_mul_ps(acc[m][p], _mm512_set1_ps(t.row_scales[m]));
        acc[m][p] = _mm512_fmadd_ps(block, _mm512_set1_ps(t.panel_scales[p]),
                                    _mm512_maskz_loadu_ps(keep, sum));
      }
      _mm512_storeu_ps(sum, acc[m][p]);
    }
  }
}

template <class Load, int H, int kShares, bool kScaled>
void tile_rows(const TileArgs& t) {
  switch (t.panels) {
    case 1:
      return tile_panels<Load, H, 1, kShares, kScaled>(t);
    case 2:
      return tile_panels<Load, H, 2, kShares, kScaled>(t);
    case 3:
      return tile_panels<Load, H, 3, kShares, kScaled>(t);
    default:
      return tile_panels<Load, H, 4, kShares, kScaled>(t);
  }
}

template <class Load, int kShares, bool kScaled>
void tile_of(int64_t height, const TileArgs& t) {
  switch (height) {
    case 1:
      return tile_rows<Load, tile_height(1, kShares, kTallest), kShares, kScaled>(t);
    case 2:
      return tile_rows<Load, tile_height(2, kShares, kTallest), kShares, kScaled>(t);
    case 3:
      return tile_rows<Load, tile_height(3, kShares, kTallest), kShares, kScaled>(t);
    case 4:
      return tile_rows<Load, 4, kShares, kScaled>(t);
    case 5:
      return tile_rows<Load, 5, kShares, kScaled>(t);
    default:
      return tile_rows<Load, 6, kShares, kScaled>(t);
  }
}

// Pairs of BF16, an odd K padded with zero.
void fill_pairs(const Rows& x, int64_t row, int64_t height, int64_t pairs, uint32_t* out) {
  for (int64_t m = 0; m < height; ++m) {
    const std::byte* data = x.row(row + m);
    uint32_t* to = out + m;
    if (x.dtype == DType::kF8E4M3) {
      const auto* codes = reinterpret_cast<const uint8_t*>(data);
      for (int64_t i = 0; i < pairs; ++i) {
        const uint32_t even = f32_to_bf16(e4m3_to_f32(codes[2 * i]));
        const uint32_t odd =
            2 * i + 1 < x.cols ? f32_to_bf16(e4m3_to_f32(codes[2 * i + 1])) : uint16_t{0};
        to[i * height] = even | odd << 16U;
      }
      continue;
    }
    const auto* values = reinterpret_cast<const uint16_t*>(data);
    for (int64_t i = 0; i < x.cols / 2; ++i) {
      __builtin_memcpy(to + i * height, values + 2 * i, sizeof(uint32_t));
    }
    if (x.cols % 2 != 0) to[(pairs - 1) * height] = values[x.cols - 1];
  }
}

template <class Load, bool kFp8>
struct Tiles {
  using Pair = uint32_t;
  static constexpr bool kScaled = kFp8;
  static constexpr int kDecodeFrom = kFp8 ? 2 : 0, kDecodePanels = kGroup;
  static constexpr int64_t tallest(int64_t /*rows*/) { return kTallest; }

  static void fill(const Rows& x, int64_t row, int64_t height, int64_t pairs, uint32_t* out) {
    fill_pairs(x, row, height, pairs, out);
  }
  template <int kShares>
  static void tile(int64_t height, const TileArgs& t) {
    tile_of<Load, kShares, kScaled>(height, t);
  }

  template <int P>
  static void decode_panels(const DecodeArgs& d) {
    const Fp8Load weights;
    for (int64_t i = 0; i < d.pairs; ++i) {
      __m512i v[P];
      weights.template load<P>(d.w + i * d.w_stride, v);
      for (int p = 0; p < P; ++p) _mm512_storeu_si512(d.out + (i * P + p) * 64, v[p]);
    }
  }
  static void decode(const DecodeArgs& d) {
    switch (d.panels) {
      case 1:
        return decode_panels<1>(d);
      case 2:
        return decode_panels<2>(d);
      case 3:
        return decode_panels<3>(d);
      default:
        return decode_panels<4>(d);
    }
  }
  template <int kShares>
  static void decoded_tile(int64_t height, TileArgs t) {
    t.w_stride = static_cast<int64_t>(t.panels) * 64;
    tile_of<Bf16Load, kShares, kScaled>(height, t);
  }
};

template <class Job>
void run(const Job& job, const Rows& x, int64_t begin, int64_t end) {
  const auto& w = job.weight();
  check_rows(x, w.dtype, w.k);
  if (w.dtype == DType::kBF16) return run_linear<Tiles<Bf16Load, false>>(job, x, begin, end);
  run_linear<Tiles<Fp8Load, true>>(job, x, begin, end);
}

bool is_ours(const Rows& x, DType weight) {
  return x.dtype != DType::kF32 && weight != DType::kF32;
}

}  // namespace

void linear(const LinearArgs& a) {
  if (!is_ours(a.x, a.w->dtype)) return v4::linear(a);
  run(LinearJob{a}, a.x, a.panel_begin, a.panel_end);
}

void gate_up(const GateUpArgs& a) {
  if (!is_ours(a.x, a.w->dtype)) return v4::gate_up(a);
  run(GateUpJob{a}, a.x, a.panel_begin, a.panel_end);
}

// Twelve chains of dot products.
float probe_bf16(int64_t rounds) {
  __m512 acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512bh a = as_pairs(_mm512_set1_epi32(0x3f7f3f7f));
  const __m512bh b = as_pairs(_mm512_set1_epi32(0x38003800));
  for (int64_t r = 0; r < rounds; ++r) {
    for (int i = 0; i < 12; ++i) acc[i] = _mm512_dpbf16_ps(acc[i], a, b);
  }
  F16 sum = zero16();
  for (const __m512& one : acc) {
    float lanes[16];
    _mm512_storeu_ps(lanes, one);
    sum = add16(sum, load16(lanes));
  }
  return fold16(sum);
}

}  // namespace wingspan::avx512
