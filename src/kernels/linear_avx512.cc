// GEMM of BF16 rows and weights by vdpbf16ps: each instruction adds one pair of K for 16 columns,
// odd element first, which is the contract's chain (numerics.h). Other types go to the portable
// kernels.
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/portable.h"
#include "kernels/simd16.h"

namespace wingspan::avx512 {
namespace {

// Rows of BF16 pairs: K even, padded with a zero in a copy if it is odd.
struct PairRows {
  const uint16_t* x;
  int64_t stride, rows, pairs;
};

PairRows to_pairs(const Rows& x) {
  if (x.cols % 2 == 0 && x.stride_bytes % 4 == 0) {
    return {reinterpret_cast<const uint16_t*>(x.data), x.stride_bytes / 2, x.rows, x.cols / 2};
  }
  static thread_local Buffer scratch;
  const int64_t stride = (x.cols + 1) / 2 * 2;
  const auto size = static_cast<size_t>(stride * x.rows) * 2;
  if (scratch.size() < size) scratch = Buffer(size);
  auto* to = scratch.as<uint16_t>();
  for (int64_t m = 0; m < x.rows; ++m) {
    const auto* from = reinterpret_cast<const uint16_t*>(x.data + m * x.stride_bytes);
    for (int64_t i = 0; i < x.cols; ++i) to[m * stride + i] = from[i];
    if (x.cols % 2 != 0) to[m * stride + x.cols] = 0;
  }
  return {to, stride, x.rows, stride / 2};
}

inline __m512bh load_pair(const uint16_t* p) {
  return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p));
}
inline __m512bh broadcast_pair(const uint16_t* p) {
  int pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
}

// sum[m][p] = the chain over all of K.
template <int MR, int NP>
inline void tile(const PairRows& rows, int64_t first_row, const uint16_t* const* panels,
                 F16 (&sum)[MR][NP]) {
  __m512 acc[MR][NP];
  for (int m = 0; m < MR; ++m) {
    for (int p = 0; p < NP; ++p) acc[m][p] = _mm512_setzero_ps();
  }
  const uint16_t* x = rows.x + first_row * rows.stride;
  for (int64_t i = 0; i < rows.pairs; ++i) {
    __m512bh w[NP];
    for (int p = 0; p < NP; ++p) w[p] = load_pair(panels[p] + i * 2 * kPanel);
    for (int m = 0; m < MR; ++m) {
      const __m512bh v = broadcast_pair(x + m * rows.stride + 2 * i);
      for (int p = 0; p < NP; ++p) acc[m][p] = _mm512_dpbf16_ps(acc[m][p], v, w[p]);
    }
  }
  for (int m = 0; m < MR; ++m) {
    for (int p = 0; p < NP; ++p) sum[m][p].v = acc[m][p];
  }
}

inline void store_columns(float* y, int64_t n, F16 value) {
  if (n >= kPanel) {
    store16(y, value);
  } else {
    store_partial16(y, n, value);
  }
}

struct LinearJob {
  const LinearArgs& a;
  static constexpr int kPanels = 1;               // of an output
  static constexpr int kTallRows = 8, kTall = 3;  // 24 of 32 registers hold sums
  static constexpr int kWide = 6;                 // outputs of a tile of few rows: more streams
  const uint16_t* panel(int64_t output, int /*which*/) const {
    return reinterpret_cast<const uint16_t*>(a.w->data.data() + output * a.w->panel_bytes());
  }
  void store(int64_t row, int64_t output, const F16* sums) const {
    store_columns(a.y + row * a.y_stride + output * kPanel, a.w->n - output * kPanel, sums[0]);
  }
};

struct GateUpJob {
  const GateUpArgs& a;
  static constexpr int kPanels = 2;
  static constexpr int kTallRows = 12, kTall = 1;
  static constexpr int kWide = 3;
  const uint16_t* panel(int64_t output, int which) const {
    const int64_t elements = (a.w->k + 1) / 2 * 2 * kPanel;
    return a.w->data.as<uint16_t>() + (2 * output + which) * elements;
  }
  void store(int64_t row, int64_t output, const F16* sums) const {
    store_columns(a.y + row * a.y_stride + output * kPanel, a.w->width - output * kPanel,
                  mul16(silu16(sums[0]), sums[1]));
  }
};

template <int MR, int kOutputs, class Job>
void rows_of_tile(const Job& job, const PairRows& rows, int64_t first_row, int64_t output) {
  constexpr int NP = kOutputs * Job::kPanels;
  const uint16_t* panels[NP];
  for (int p = 0; p < NP; ++p) panels[p] = job.panel(output + p / Job::kPanels, p % Job::kPanels);
  F16 sum[MR][NP];
  tile<MR, NP>(rows, first_row, panels, sum);
  for (int m = 0; m < MR; ++m) {
    for (int o = 0; o < kOutputs; ++o) {
      job.store(first_row + m, output + o, &sum[m][o * Job::kPanels]);
    }
  }
}

// What is left of the rows below a whole tile of MR.
template <int MR, int kOutputs, class Job>
void rest_of_rows(const Job& job, const PairRows& rows, int64_t m, int64_t output) {
  if constexpr (MR > 0) {
    if (rows.rows - m == MR) {
      rows_of_tile<MR, kOutputs>(job, rows, m, output);
    } else {
      rest_of_rows<MR - 1, kOutputs>(job, rows, m, output);
    }
  }
}

template <int MR, int kOutputs, class Job>
void columns(const Job& job, const PairRows& rows, int64_t output) {
  int64_t m = 0;
  for (; m + MR <= rows.rows; m += MR) rows_of_tile<MR, kOutputs>(job, rows, m, output);
  rest_of_rows<MR - 1, kOutputs>(job, rows, m, output);
}

template <class Job>
void run(const Job& job, const Rows& x, int64_t begin, int64_t end) {
  const PairRows rows = to_pairs(x);
  int64_t output = begin;
  if (rows.rows <= 2) {
    for (; output + Job::kWide <= end; output += Job::kWide) {
      columns<2, Job::kWide>(job, rows, output);
    }
  }
  for (; output + Job::kTall <= end; output += Job::kTall) {
    columns<Job::kTallRows, Job::kTall>(job, rows, output);
  }
  for (; output < end; ++output) columns<Job::kTallRows, 1>(job, rows, output);
}

bool is_bf16(const Rows& x, DType weight) {
  return x.dtype == DType::kBF16 && weight == DType::kBF16;
}

}  // namespace

void linear(const LinearArgs& a) {
  if (!is_bf16(a.x, a.w->dtype)) return v4::linear(a);
  check_rows(a.x, a.w->dtype, a.w->k);
  run(LinearJob{a}, a.x, a.panel_begin, a.panel_end);
}

void gate_up(const GateUpArgs& a) {
  if (!is_bf16(a.x, a.w->dtype)) return v4::gate_up(a);
  check_rows(a.x, a.w->dtype, a.w->k);
  run(GateUpJob{a}, a.x, a.panel_begin, a.panel_end);
}

}  // namespace wingspan::avx512
