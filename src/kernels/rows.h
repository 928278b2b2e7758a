// Rows of activations, as an op's input: float32, BF16, or FP8 with a scale for each 128 channels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace wingspan {

constexpr int kFp8Block = 128;  // channels (and output rows of a weight) that share a scale

// [rows, cols], a view: rows `stride_bytes` apart, or each at an address of its own (`gathered`,
// then in the form of row_bytes()).
struct Rows {
  DType dtype = DType::kF32;  // kF32, kBF16, kF8E4M3
  const std::byte* data = nullptr;
  int64_t stride_bytes = 0;       // from row to row
  const float* scales = nullptr;  // null except for kF8E4M3: [rows, ceil(cols / 128)]
  int64_t scale_stride = 0;       // floats from row to row
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* const* gathered = nullptr;  // [rows], instead of the five above but dtype

  const std::byte* row(int64_t m) const {
    return gathered != nullptr ? gathered[m] : data + m * stride_bytes;
  }
  // The scale of row m in a block of 128 channels; 1 for the types without scales.
  inline float scale(int64_t m, int64_t block) const;
};

inline int64_t fp8_blocks(int64_t cols) { return (cols + kFp8Block - 1) / kFp8Block; }

// Bytes of a row's values, padded to 4.
inline int64_t row_value_bytes(DType dtype, int64_t cols) {
  return (cols * dtype_size(dtype) + 3) / 4 * 4;
}

inline float Rows::scale(int64_t m, int64_t block) const {
  if (dtype != DType::kF8E4M3) return 1.0F;
  if (gathered == nullptr) return scales[m * scale_stride + block];
  return reinterpret_cast<const float*>(gathered[m] + row_value_bytes(dtype, cols))[block];
}

// Bytes of one row with its scales behind it, each part padded to 4 bytes: the form in which rows
// travel between ranks.
int64_t row_bytes(DType dtype, int64_t cols);

// A view on rows stored in that form, `stride_bytes` ≥ row_bytes apart and 4-byte aligned.
Rows packed_rows(DType dtype, const std::byte* data, int64_t stride_bytes, int64_t rows,
                 int64_t cols);

// A view on rows in that form that lie anywhere, rows[m] 4-byte aligned.
inline Rows gathered_rows(DType dtype, const std::byte* const* rows, int64_t count, int64_t cols) {
  return {dtype, nullptr, 0, nullptr, 0, count, cols, rows};
}

// Converts float32 rows [rows, cols] (x_stride floats apart) into that form.
//   kF32: copied.  kBF16: round to nearest even.
//   kF8E4M3: s = max(amax, 1e-4) / 448 for each 128 channels (the last may be narrower), code =
//   e4m3(x / s) by true division.  Source: DeepSeek-V3 inference/kernel.py, act_quant.
// Row by row: nothing depends on the number of rows.
void pack_rows(DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
               std::byte* out, int64_t out_stride_bytes);
// The same for channels [begin, end) only, begin a multiple of 128; `x` still points at channel 0.
void pack_columns(DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
                  int64_t begin, int64_t end, std::byte* out, int64_t out_stride_bytes);

}  // namespace wingspan
