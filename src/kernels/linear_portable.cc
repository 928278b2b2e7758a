// GEMM by register tiles of up to 6 or 12 rows, one accumulator chain per output. The tile's size
// changes how often weights are read, never the order of a sum. Rows are packed as float32 values.
#include "kernels/linear_driver.h"
#include "kernels/portable.h"

namespace wingspan::WINGSPAN_ISA {
namespace {

// Panels that a tile of `height` rows computes together: enough chains to hide the latency of fma,
// few enough to stay in registers.
constexpr int panels_beside(int height) {
#if defined(__AVX512F__)
  return height <= kTallest ? 4 : 2;  // up to 24 of 32 registers hold sums
#elif defined(__AVX2__)
  return height == 1 ? 4 : height <= 3 ? 2 : 1;  // up to 12 of 16
#else
  return height > 0 ? 1 : 0;
#endif
}

// From how many tiles on BF16 weights are turned into float32 once for all: a panel that is
// computed by itself does it again for each tile, four beside each other do it beside the loads.
// Until then tiles of twice the rows and half the panels turn each weight half as often; for few
// rows they have too few sums.
#if defined(__AVX512F__)
constexpr bool kManyRegisters = true;
constexpr int kWidenFrom = 16, kTallestBf16 = 2 * kTallest;
#else
constexpr bool kManyRegisters = false;
constexpr int kWidenFrom = 5, kTallestBf16 = kTallest;
#endif

// The storage types of a packed weight: the even or the odd half of a pair of K for 16 columns.
// Rows are multiplied by kRowScale, which makes up for what the weights lack.
struct F32Weight {
  using Element = float;
  static constexpr float kRowScale = 1;
  static inline F16 even(const float* p) { return load16(p); }
  static inline F16 odd(const float* p) { return load16(p + kPanel); }
};
struct Bf16Weight {
  using Element = uint16_t;
  static constexpr float kRowScale = 1;
  static inline F16 even(const uint16_t* p) { return bf16_even16(p); }
  static inline F16 odd(const uint16_t* p) { return bf16_odd16(p); }
};
struct Fp8Weight {
  using Element = uint8_t;
  static constexpr float kRowScale = e4m3_row_scale();
  static inline F16 even(const uint8_t* p) { return e4m3_even16(p); }
  static inline F16 odd(const uint8_t* p) { return e4m3_odd16(p); }
};
// NaN codes too.
struct AnyFp8Weight {
  using Element = uint8_t;
  static constexpr float kRowScale = 1;
  static inline F16 even(const uint8_t* p) {
    F16 even, odd;
    load_e4m3_pairs(p, even, odd);
    return even;
  }
  static inline F16 odd(const uint8_t* p) {
    F16 even, odd;
    load_e4m3_pairs(p, even, odd);
    return odd;
  }
};

struct FloatPair {
  float even, odd;
};

inline float row_value(const float* row, int64_t i) { return row[i]; }
inline float row_value(const uint16_t* row, int64_t i) { return bf16_to_f32(row[i]); }
inline float row_value(const uint8_t* row, int64_t i) { return e4m3_to_f32(row[i]); }

template <class T, int H>
void fill_rows(const Rows& x, int64_t row, int64_t pairs, float scale, FloatPair* out) {
  const T* in[H];
  for (int m = 0; m < H; ++m) {
    in[m] = reinterpret_cast<const T*>(x.row(row + m));
  }
  const int64_t whole = x.cols / 2;
  for (int64_t i = 0; i < whole; ++i) {
    for (int m = 0; m < H; ++m) {
      out[i * H + m] = {row_value(in[m], 2 * i) * scale, row_value(in[m], 2 * i + 1) * scale};
    }
  }
  if (whole == pairs) return;
  for (int m = 0; m < H; ++m) out[whole * H + m] = {row_value(in[m], 2 * whole) * scale, 0};
}

template <class T>
void fill_any(const Rows& x, int64_t row, int64_t height, int64_t pairs, float scale,
              FloatPair* out) {
  switch (height) {
    case 1:
      return fill_rows<T, 1>(x, row, pairs, scale, out);
    case 2:
      return fill_rows<T, 2>(x, row, pairs, scale, out);
    case 3:
      return fill_rows<T, 3>(x, row, pairs, scale, out);
    case 4:
      return fill_rows<T, 4>(x, row, pairs, scale, out);
    case 5:
      return fill_rows<T, 5>(x, row, pairs, scale, out);
    case 6:
      return fill_rows<T, 6>(x, row, pairs, scale, out);
    case 7:
      return fill_rows<T, std::min(7, kTallestBf16)>(x, row, pairs, scale, out);
    case 8:
      return fill_rows<T, std::min(8, kTallestBf16)>(x, row, pairs, scale, out);
    case 9:
      return fill_rows<T, std::min(9, kTallestBf16)>(x, row, pairs, scale, out);
    case 10:
      return fill_rows<T, std::min(10, kTallestBf16)>(x, row, pairs, scale, out);
    case 11:
      return fill_rows<T, std::min(11, kTallestBf16)>(x, row, pairs, scale, out);
    default:
      return fill_rows<T, std::min(12, kTallestBf16)>(x, row, pairs, scale, out);
  }
}

// acc[m][q] += x[2m] · weight(q). With few registers, one panel's weights at a time.
template <int H, int NP, class Weight>
inline void add_half(const Weight& weight, const float* x, F16 (&acc)[H][NP]) {
  if constexpr (kManyRegisters) {
    F16 v[NP];
    for (int q = 0; q < NP; ++q) v[q] = weight(q);
    for (int m = 0; m < H; ++m) {
      const F16 value = set16(x[2 * m]);
      for (int q = 0; q < NP; ++q) acc[m][q] = fma16(value, v[q], acc[m][q]);
    }
  } else {
    for (int q = 0; q < NP; ++q) {
      const F16 v = weight(q);
      // A compiler that kept the broadcasts for the next panel would spill sums for them.
      if constexpr (NP > 1 && H > 2) asm("" : "+r"(x));
      for (int m = 0; m < H; ++m) acc[m][q] = fma16(set16(x[2 * m]), v, acc[m][q]);
    }
  }
}

// Adds a block to the sums of H rows in NP panels from panel `p` on.
template <class W, int H, int NP, int kShares, bool kScaled>
inline void tile_panels(const TileArgs& t, int p) {
  using Element = typename W::Element;
  const auto* x = static_cast<const FloatPair*>(t.x);
  const std::byte* w = t.w + p * 2 * kPanel * static_cast<int64_t>(sizeof(Element));
  float* const sums = t.sums + p * kPanel;
  F16 acc[H][NP];
  for (int m = 0; m < H; ++m) {
    for (int q = 0; q < NP; ++q) {
      acc[m][q] = kScaled ? zero16() : load_if16(!t.first, sums + m * kRowSums + q * kPanel);
    }
  }
  constexpr int kBytes = static_cast<int>(NP * 2 * kPanel * sizeof(Element));
  Ahead<NP, kBytes, kShares> ahead(t, p);
  const int64_t stride = t.w_stride;
  int64_t left = t.pairs;
  do {  // at least once: a way around the loop would pass through the stack
    ahead.fetch();
    add_half<H, NP>(
        [&](int q) { return W::odd(reinterpret_cast<const Element*>(w) + q * 2 * kPanel); },
        &x->odd, acc);
    add_half<H, NP>(
        [&](int q) { return W::even(reinterpret_cast<const Element*>(w) + q * 2 * kPanel); },
        &x->even, acc);
    x += H;
    w += stride;
  } while (--left != 0);
#pragma GCC unroll 12  // a loop would take the sums from the stack
  for (int m = 0; m < H; ++m) {
    for (int q = 0; q < NP; ++q) {
      float* const sum = sums + m * kRowSums + q * kPanel;
      if constexpr (kScaled) {
        const F16 block = mul16(acc[m][q], set16(t.row_scales[m]));
        acc[m][q] = fma16(block, set16(t.panel_scales[p + q]), load_if16(!t.first, sum));
      }
      store16(sum, acc[m][q]);
    }
  }
}

template <class W, int H, int kShares, bool kScaled>
void tile_rows(const TileArgs& t) {
  constexpr int kBeside = panels_beside(H);
  int p = 0;
  for (; p + kBeside <= t.panels; p += kBeside) tile_panels<W, H, kBeside, kShares, kScaled>(t, p);
  if constexpr (kBeside > 2 &&
                kShares == 1) {  // a group's rest is rare: no code for each of its widths
    for (; p + 2 <= t.panels; p += 2) tile_panels<W, H, 2, kShares, kScaled>(t, p);
  }
  if constexpr (kBeside > 1) {
    for (; p < t.panels; ++p) tile_panels<W, H, 1, kShares, kScaled>(t, p);
  }
}

// Rows of a type's tiles at most.
template <class W>
constexpr int tallest_of() {
  return sizeof(typename W::Element) == 2 ? kTallestBf16 : kTallest;
}

template <class W, int H, int kShares, bool kScaled>
void tile_of_height(const TileArgs& t) {
  tile_rows<W, tile_height(H, kShares, tallest_of<W>()), kShares, kScaled>(t);
}

template <class W, int kShares, bool kScaled>
void tile_of(int64_t height, const TileArgs& t) {
  switch (height) {
    case 1:
      return tile_of_height<W, 1, kShares, kScaled>(t);
    case 2:
      return tile_of_height<W, 2, kShares, kScaled>(t);
    case 3:
      return tile_of_height<W, 3, kShares, kScaled>(t);
    case 4:
      return tile_of_height<W, 4, kShares, kScaled>(t);
    case 5:
      return tile_of_height<W, 5, kShares, kScaled>(t);
    case 6:
      return tile_of_height<W, 6, kShares, kScaled>(t);
    case 7:
      return tile_of_height<W, 7, kShares, kScaled>(t);
    case 8:
      return tile_of_height<W, 8, kShares, kScaled>(t);
    case 9:
      return tile_of_height<W, 9, kShares, kScaled>(t);
    case 10:
      return tile_of_height<W, 10, kShares, kScaled>(t);
    case 11:
      return tile_of_height<W, 11, kShares, kScaled>(t);
    default:
      return tile_of_height<W, 12, kShares, kScaled>(t);
  }
}

template <class W>
struct Tiles {
  using Pair = FloatPair;
  static constexpr bool kScaled = sizeof(typename W::Element) == 1;
  // Decoding FP8 pays from two tiles on. BF16 is read faster as float32 too, by many tiles.
  static constexpr int kDecodeFrom = kScaled                            ? 2
                                     : sizeof(typename W::Element) == 2 ? kWidenFrom
                                                                        : 0;
  static constexpr int kDecodePanels = panels_beside(kTallest);
  static constexpr int64_t tallest(int64_t rows) {
    const bool several = rows > 2 * kTallest && rows <= (kWidenFrom - 1) * kTallest;
    return several ? tallest_of<W>() : kTallest;
  }

  static void fill(const Rows& x, int64_t row, int64_t height, int64_t pairs, FloatPair* out) {
    if (x.dtype == DType::kF32) return fill_any<float>(x, row, height, pairs, W::kRowScale, out);
    if (x.dtype == DType::kBF16) {
      return fill_any<uint16_t>(x, row, height, pairs, W::kRowScale, out);
    }
    fill_any<uint8_t>(x, row, height, pairs, W::kRowScale, out);
  }
  template <int kShares>
  static void tile(int64_t height, const TileArgs& t) {
    tile_of<W, kShares, kScaled>(height, t);
  }

  static void decode(const DecodeArgs& d) {
    if constexpr (kDecodeFrom > 0) {
      using Element = typename W::Element;
      constexpr int64_t kBytes = 2 * kPanel * sizeof(Element);
      auto* out = reinterpret_cast<float*>(d.out);
      for (int64_t i = 0; i < d.pairs; ++i) {
        for (int p = 0; p < d.panels; ++p, out += 2 * kPanel) {
          const auto* w = reinterpret_cast<const Element*>(d.w + i * d.w_stride + p * kBytes);
          store16(out, W::even(w));
          store16(out + kPanel, W::odd(w));
        }
      }
    }
  }
  template <int kShares>
  static void decoded_tile(int64_t height, TileArgs t) {
    t.w_stride = static_cast<int64_t>(t.panels) * 2 * kPanel * 4;
    tile_of<F32Weight, kShares, kScaled>(height, t);
  }
};

// Rows can be multiplied by e4m3_row_scale() unless one is so large that it would overflow.
bool may_scale(const Rows& x) {
  if (x.dtype == DType::kF8E4M3) return true;
  uint32_t exponent = 0;
  for (int64_t m = 0; m < x.rows; ++m) {
    const std::byte* row = x.row(m);
    for (int64_t i = 0; i < x.cols; ++i) {
      const float v = x.dtype == DType::kBF16
                          ? bf16_to_f32(reinterpret_cast<const uint16_t*>(row)[i])
                          : reinterpret_cast<const float*>(row)[i];
      exponent = std::max(exponent, std::bit_cast<uint32_t>(v) & 0x7f800000U);
    }
  }
  return exponent < (127U + 118U) << 23;
}

template <class Job>
void run(const Job& job, const Rows& x, int64_t begin, int64_t end) {
  const auto& w = job.weight();
  check_rows(x, w.dtype, w.k);
  switch (w.dtype) {
    case DType::kF32:
      return run_linear<Tiles<F32Weight>>(job, x, begin, end);
    case DType::kBF16:
      return run_linear<Tiles<Bf16Weight>>(job, x, begin, end);
    default:
      if (w.nan_codes || !may_scale(x)) return run_linear<Tiles<AnyFp8Weight>>(job, x, begin, end);
      return run_linear<Tiles<Fp8Weight>>(job, x, begin, end);
  }
}

}  // namespace

void linear(const LinearArgs& a) { run(LinearJob{a}, a.x, a.panel_begin, a.panel_end); }
void gate_up(const GateUpArgs& a) { run(GateUpJob{a}, a.x, a.panel_begin, a.panel_end); }

}  // namespace wingspan::WINGSPAN_ISA
