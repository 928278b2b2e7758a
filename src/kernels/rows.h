// Rows of activations, as an op's input: float32, BF16, or FP8 with a scale for each 128 channels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace wingspan {

constexpr int kFp8Block = 128;  // channels (and output rows of a weight) that share a scale

// [rows, cols], a view. `scales` is null except for kF8E4M3: [rows, ceil(cols / 128)].
struct Rows {
  DType dtype = DType::kF32;  // kF32, kBF16, kF8E4M3
  const std::byte* data = nullptr;
  int64_t stride_bytes = 0;  // from row to row
  const float* scales = nullptr;
  int64_t scale_stride = 0;  // floats from row to row
  int64_t rows = 0;
  int64_t cols = 0;
};

inline int64_t fp8_blocks(int64_t cols) { return (cols + kFp8Block - 1) / kFp8Block; }

// Bytes of one row with its scales behind it, each part padded to 4 bytes: the form in which rows
// travel between ranks.
int64_t row_bytes(DType dtype, int64_t cols);

// A view on rows stored in that form, `stride_bytes` ≥ row_bytes apart and 4-byte aligned.
Rows packed_rows(DType dtype, const std::byte* data, int64_t stride_bytes, int64_t rows,
                 int64_t cols);

// Converts float32 rows [rows, cols] (x_stride floats apart) into that form.
//   kF32: copied.  kBF16: round to nearest even.
//   kF8E4M3: s = max(amax, 1e-4) / 448 for each 128 channels (the last may be narrower), code =
//   e4m3(x / s) by true division.  Source: DeepSeek-V3 inference/kernel.py, act_quant.
// Row by row: nothing depends on the number of rows.
void pack_rows(DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
               std::byte* out, int64_t out_stride_bytes);

}  // namespace wingspan
