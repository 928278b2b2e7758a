// y[m][n] = Σ_k x[m][k] · w[n][k], the GEMM of every projection, and the pair of them with SwiGLU
// that an MLP needs. One output row depends on its input row and the weights alone.
//
// Contract for one output element (numerics.h: pair order, fma):
//   float32 and BF16 weights:  one chain over K.
//   FP8 weights: for each block kb of 128 along K: b = the chain over the block's codes (exact
//   values of e4m3, from 0); acc = fma(b · sx[m][kb], sw[n / 128][kb], acc), acc from 0, blocks
//   ascending, sx = 1 unless x is FP8. FP8 rows require FP8 weights. BF16 rows and float32 weights
//   are multiplied as the float32 values that they stand for.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/rows.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace wingspan {

constexpr int kPanel = 16;  // output columns that share a vector
constexpr int kGroup = 4;   // panels that lie side by side in memory

// Weights in the layout that kernels read, one sequential stream: groups of 4 panels of 16 output
// columns (the last group may have fewer); within a group, for each pair of K, its panels' 16 × 2
// values: [ceil(N/64)][ceil(K/2)][panels of the group][32]. The 32 are [16][2] for BF16 and FP8,
// as the BF16 dot product wants them, and [2][16] for float32. Padding is zero.
struct PackedWeight {
  DType dtype = DType::kF32;  // kF32, kBF16, kF8E4M3
  int64_t n = 0;              // outputs
  int64_t k = 0;              // inputs
  Buffer data;
  Buffer scales;           // kF8E4M3: float32 [ceil(n/128)][ceil(k/128)]
  bool nan_codes = false;  // kF8E4M3: some code is a NaN; kernels then decode the slow way

  int64_t panels() const { return (n + kPanel - 1) / kPanel; }
  int64_t panel_bytes() const { return (k + 1) / 2 * 2 * kPanel * dtype_size(dtype); }
  int64_t bytes() const { return static_cast<int64_t>(data.size() + scales.size()); }
};

// Where a panel's values lie among `panels` of them: its first element, and the elements from one
// pair of K to the next.
struct PanelPlace {
  int64_t first = 0, stride = 0;
};
inline PanelPlace panel_place(int64_t panels, int64_t k, int64_t panel) {
  const int64_t group = panel / kGroup * kGroup;
  const int64_t side_by_side = panels - group < kGroup ? panels - group : kGroup;
  return {group * ((k + 1) / 2) * 2 * kPanel + (panel - group) * 2 * kPanel,
          side_by_side * 2 * kPanel};
}
// The place of (pair parity, column) among a panel's 32 values of one pair.
inline int64_t pair_place(DType dtype, int64_t odd, int64_t lane) {
  return dtype == DType::kF32 ? odd * kPanel + lane : lane * 2 + odd;
}

// Bytes that pack_weight will use for these dimensions (data and scales).
int64_t packed_weight_bytes(DType dtype, int64_t n, int64_t k);

// From row-major [n, k] of `dtype` (scales: null or [ceil(n/128)][ceil(k/128)]). One copy.
PackedWeight pack_weight(DType dtype, int64_t n, int64_t k, const std::byte* row_major,
                         const float* scales);

// Gate and up of an MLP as one weight with n = 2·width: panel 2i holds gate columns 16i…16i+15,
// panel 2i+1 the up columns. `scales` of FP8: gate's and up's, each [ceil(width/128)][ceil(k/128)],
// stored gate first.
struct PackedGateUp {
  DType dtype = DType::kF32;
  int64_t width = 0;  // outputs after SwiGLU
  int64_t k = 0;
  Buffer data;
  Buffer scales;
  bool nan_codes = false;  // as in PackedWeight

  int64_t panels() const { return (width + kPanel - 1) / kPanel; }  // pairs of panels
  int64_t bytes() const { return static_cast<int64_t>(data.size() + scales.size()); }
};
int64_t packed_gate_up_bytes(DType dtype, int64_t width, int64_t k);
PackedGateUp pack_gate_up(DType dtype, int64_t width, int64_t k, const std::byte* gate,
                          const float* gate_scales, const std::byte* up, const float* up_scales);

// CHECKs that rows fit a weight with k inputs: the widths, and FP8 rows only for FP8 weights.
void check_rows(const Rows& x, DType weight, int64_t k);

// y [x.rows, w.n] float32, y_stride floats apart. Computes panels [panel_begin, panel_end) only, so
// that threads split the columns (best at multiples of kGroup); CHECKs x.cols == w.k and the dtype
// pairs above.
struct LinearArgs {
  Rows x;
  const PackedWeight* w = nullptr;
  float* y = nullptr;
  int64_t y_stride = 0;
  int64_t panel_begin = 0, panel_end = 0;
  int64_t y_panel = 0;  // ≤ panel_begin: the panel whose columns stand first in a row of y
  float* const* y_rows = nullptr;  // [x.rows], instead of y: where each row goes

  // Where the columns of a panel ≥ y_panel go in row m.
  float* at(int64_t m, int64_t panel) const {
    return (y_rows != nullptr ? y_rows[m] : y + m * y_stride) + (panel - y_panel) * kPanel;
  }
};
void linear_ref(const LinearArgs& args);

// y[m][i] = silu(gate) · up with silu_contract; panels counted in outputs [width / 16], best split
// at multiples of kGroup / 2.
struct GateUpArgs {
  Rows x;
  const PackedGateUp* w = nullptr;
  float* y = nullptr;
  int64_t y_stride = 0;
  int64_t panel_begin = 0, panel_end = 0;

  float* at(int64_t m, int64_t panel) const { return y + m * y_stride + panel * kPanel; }
};
void gate_up_ref(const GateUpArgs& args);

}  // namespace wingspan
