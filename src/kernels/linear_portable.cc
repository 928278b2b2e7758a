// GEMM by register tiles: MR rows × NP panels of 16 columns, one accumulator chain per output. The
// tile's size changes how often weights are read, never the order of a sum.
#include <type_traits>

#include "kernels/portable.h"
#include "kernels/simd16.h"

namespace wingspan::WINGSPAN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kTallRows = 8, kTallPanels = 2;  // 16 of 32 registers hold sums
#else
constexpr int kTallRows = 4, kTallPanels = 1;
#endif

// The three storage types of a packed weight: a pair of K for 16 columns.
struct F32Weight {
  using Element = float;
  static inline void load(const float* p, F16& even, F16& odd) { load_f32_pairs(p, even, odd); }
};
struct Bf16Weight {
  using Element = uint16_t;
  static inline void load(const uint16_t* p, F16& even, F16& odd) { load_bf16_pairs(p, even, odd); }
};
struct Fp8Weight {
  using Element = uint8_t;
  static inline void load(const uint8_t* p, F16& even, F16& odd) { load_e4m3_pairs(p, even, odd); }
};

// Rows as float32, K padded with a zero to an even number; scales where they are FP8.
struct FloatRows {
  const float* x;
  int64_t stride;
  const float* scales;
  int64_t scale_stride;
  int64_t rows, k;
};

// Converts where needed; the scratch belongs to the thread and grows to the largest use.
FloatRows to_float(const Rows& x) {
  FloatRows out{nullptr, 0, x.scales, x.scale_stride, x.rows, x.cols};
  if (x.dtype == DType::kF32 && x.cols % 2 == 0) {
    out.x = reinterpret_cast<const float*>(x.data);
    out.stride = x.stride_bytes / 4;
    return out;
  }
  static thread_local Buffer scratch;
  out.stride = (x.cols + 1) / 2 * 2;
  const auto size = static_cast<size_t>(out.stride * x.rows) * sizeof(float);
  if (scratch.size() < size) scratch = Buffer(size);
  for (int64_t m = 0; m < x.rows; ++m) {
    const std::byte* row = x.data + m * x.stride_bytes;
    float* to = scratch.as<float>() + m * out.stride;
    if (x.dtype == DType::kF32) {
      const auto* p = reinterpret_cast<const float*>(row);
      for (int64_t i = 0; i < x.cols; ++i) to[i] = p[i];
    } else if (x.dtype == DType::kBF16) {
      const auto* p = reinterpret_cast<const uint16_t*>(row);
      for (int64_t i = 0; i < x.cols; ++i) to[i] = bf16_to_f32(p[i]);
    } else {
      const auto* p = reinterpret_cast<const uint8_t*>(row);
      for (int64_t i = 0; i < x.cols; ++i) to[i] = e4m3_to_f32(p[i]);
    }
    if (x.cols % 2 != 0) to[x.cols] = 0;
  }
  out.x = scratch.as<float>();
  return out;
}

// sum[m][p] = the chain over pairs [begin, end) of K, from zero.
template <class W, int MR, int NP>
static inline void chain(const float* const* x, const typename W::Element* const* panels,
                         int64_t begin, int64_t end, F16 (&sum)[MR][NP]) {
  for (int m = 0; m < MR; ++m) {
    for (int p = 0; p < NP; ++p) sum[m][p] = zero16();
  }
  for (int64_t i = begin; i < end; ++i) {
    F16 even[NP], odd[NP];
    for (int p = 0; p < NP; ++p) W::load(panels[p] + i * 2 * kPanel, even[p], odd[p]);
    for (int m = 0; m < MR; ++m) {
      const F16 xo = set16(x[m][2 * i + 1]), xe = set16(x[m][2 * i]);
      for (int p = 0; p < NP; ++p) {
        sum[m][p] = fma16(xo, odd[p], sum[m][p]);
        sum[m][p] = fma16(xe, even[p], sum[m][p]);
      }
    }
  }
}

// The outputs of MR rows in NP panels. `scales[p]` is the row of block scales of panel p (FP8).
template <class W, int MR, int NP>
static inline void tile(const FloatRows& rows, int64_t first_row,
                        const typename W::Element* const* panels, const float* const* scales,
                        F16 (&sum)[MR][NP]) {
  const float* x[MR];
  for (int m = 0; m < MR; ++m) x[m] = rows.x + (first_row + m) * rows.stride;
  const int64_t pairs = (rows.k + 1) / 2;
  if constexpr (!std::is_same_v<W, Fp8Weight>) {
    static_cast<void>(scales);
    chain<W, MR, NP>(x, panels, 0, pairs, sum);
  } else {
    for (int m = 0; m < MR; ++m) {
      for (int p = 0; p < NP; ++p) sum[m][p] = zero16();
    }
    constexpr int64_t kBlockPairs = kFp8Block / 2;
    for (int64_t b = 0; b * kBlockPairs < pairs; ++b) {
      const int64_t begin = b * kBlockPairs, left = pairs - begin;
      F16 block[MR][NP];
      chain<W, MR, NP>(x, panels, begin, begin + (left < kBlockPairs ? left : kBlockPairs), block);
      for (int m = 0; m < MR; ++m) {
        const float* row_scales = rows.scales;
        const float sx =
            row_scales == nullptr ? 1.0F : row_scales[(first_row + m) * rows.scale_stride + b];
        for (int p = 0; p < NP; ++p) {
          sum[m][p] = fma16(mul16(block[m][p], set16(sx)), set16(scales[p][b]), sum[m][p]);
        }
      }
    }
  }
}

static inline void store_columns(float* y, int64_t n, F16 value) {
  if (n >= kPanel) {
    store16(y, value);
  } else {
    store_partial16(y, n, value);
  }
}

// What differs between the two ops: which panels a tile reads and what becomes of its sums.
template <class W>
struct LinearJob {
  const LinearArgs& a;
  static constexpr int kPanelsPerOutput = 1;
  const typename W::Element* panel(int64_t output, int /*which*/) const {
    return reinterpret_cast<const typename W::Element*>(a.w->data.data() +
                                                        output * a.w->panel_bytes());
  }
  const float* scales(int64_t output, int /*which*/) const {
    if (a.w->scales.size() == 0) return nullptr;
    return a.w->scales.template as<float>() + output * kPanel / kFp8Block * fp8_blocks(a.w->k);
  }
  void store(int64_t row, int64_t output, const F16* sums) const {
    store_columns(a.y + row * a.y_stride + output * kPanel, a.w->n - output * kPanel, sums[0]);
  }
};

template <class W>
struct GateUpJob {
  const GateUpArgs& a;
  static constexpr int kPanelsPerOutput = 2;
  const typename W::Element* panel(int64_t output, int which) const {
    const int64_t bytes = (a.w->k + 1) / 2 * 2 * kPanel * dtype_size(a.w->dtype);
    return reinterpret_cast<const typename W::Element*>(a.w->data.data() +
                                                        (2 * output + which) * bytes);
  }
  const float* scales(int64_t output, int which) const {
    if (a.w->scales.size() == 0) return nullptr;
    const int64_t blocks = fp8_blocks(a.w->k);
    return a.w->scales.template as<float>() + which * fp8_blocks(a.w->width) * blocks +
           output * kPanel / kFp8Block * blocks;
  }
  void store(int64_t row, int64_t output, const F16* sums) const {
    store_columns(a.y + row * a.y_stride + output * kPanel, a.w->width - output * kPanel,
                  mul16(silu16(sums[0]), sums[1]));
  }
};

// All rows of `outputs` outputs that share a tile, from panel `output` on.
template <class W, int MR, int kOutputs, class Job>
void rows_of_tile(const Job& job, const FloatRows& rows, int64_t first_row, int64_t output) {
  constexpr int NP = kOutputs * Job::kPanelsPerOutput;
  const typename W::Element* panels[NP];
  const float* scales[NP];
  for (int p = 0; p < NP; ++p) {
    panels[p] = job.panel(output + p / Job::kPanelsPerOutput, p % Job::kPanelsPerOutput);
    scales[p] = job.scales(output + p / Job::kPanelsPerOutput, p % Job::kPanelsPerOutput);
  }
  F16 sum[MR][NP];
  tile<W, MR, NP>(rows, first_row, panels, scales, sum);
  for (int m = 0; m < MR; ++m) {
    for (int o = 0; o < kOutputs; ++o) {
      job.store(first_row + m, output + o, &sum[m][o * Job::kPanelsPerOutput]);
    }
  }
}

template <class W, int kOutputs, class Job>
void columns(const Job& job, const FloatRows& rows, int64_t output) {
  int64_t m = 0;
  for (; m + kTallRows <= rows.rows; m += kTallRows) {
    rows_of_tile<W, kTallRows, kOutputs>(job, rows, m, output);
  }
  switch (rows.rows - m) {
    case 7:
      rows_of_tile<W, 4, kOutputs>(job, rows, m, output);
      m += 4;
      [[fallthrough]];
    case 3:
      rows_of_tile<W, 3, kOutputs>(job, rows, m, output);
      break;
    case 6:
      rows_of_tile<W, 4, kOutputs>(job, rows, m, output);
      m += 4;
      [[fallthrough]];
    case 2:
      rows_of_tile<W, 2, kOutputs>(job, rows, m, output);
      break;
    case 5:
      rows_of_tile<W, 4, kOutputs>(job, rows, m, output);
      m += 4;
      [[fallthrough]];
    case 1:
      rows_of_tile<W, 1, kOutputs>(job, rows, m, output);
      break;
    case 4:
      rows_of_tile<W, 4, kOutputs>(job, rows, m, output);
      break;
    default:
      break;
  }
}

template <class W, class Job>
void run(const Job& job, const Rows& x, int64_t begin, int64_t end) {
  const FloatRows rows = to_float(x);
  constexpr int kWide = Job::kPanelsPerOutput == 1 ? 4 : 2;  // few rows: more streams in flight
  constexpr int kTall = Job::kPanelsPerOutput == 1 ? kTallPanels : 1;
  int64_t output = begin;
  if (rows.rows <= 2) {
    for (; output + kWide <= end; output += kWide) columns<W, kWide>(job, rows, output);
  }
  for (; output + kTall <= end; output += kTall) columns<W, kTall>(job, rows, output);
  for (; output < end; ++output) columns<W, 1>(job, rows, output);
}

}  // namespace

void linear(const LinearArgs& a) {
  check_rows(a.x, a.w->dtype, a.w->k);
  switch (a.w->dtype) {
    case DType::kF32:
      return run<F32Weight>(LinearJob<F32Weight>{a}, a.x, a.panel_begin, a.panel_end);
    case DType::kBF16:
      return run<Bf16Weight>(LinearJob<Bf16Weight>{a}, a.x, a.panel_begin, a.panel_end);
    default:
      return run<Fp8Weight>(LinearJob<Fp8Weight>{a}, a.x, a.panel_begin, a.panel_end);
  }
}

void gate_up(const GateUpArgs& a) {
  check_rows(a.x, a.w->dtype, a.w->k);
  switch (a.w->dtype) {
    case DType::kF32:
      return run<F32Weight>(GateUpJob<F32Weight>{a}, a.x, a.panel_begin, a.panel_end);
    case DType::kBF16:
      return run<Bf16Weight>(GateUpJob<Bf16Weight>{a}, a.x, a.panel_begin, a.panel_end);
    default:
      return run<Fp8Weight>(GateUpJob<Fp8Weight>{a}, a.x, a.panel_begin, a.panel_end);
  }
}

}  // namespace wingspan::WINGSPAN_ISA
