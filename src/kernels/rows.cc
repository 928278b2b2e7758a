#include "kernels/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace wingspan {
namespace {

constexpr float kScaleFloor = 1e-4F;
constexpr float kE4m3Max = 448.0F;

void pack_fp8_row(const float* x, int64_t cols, int64_t first, int64_t last, std::byte* out) {
  auto* codes = reinterpret_cast<uint8_t*>(out);
  auto* scales = reinterpret_cast<float*>(out + row_value_bytes(DType::kF8E4M3, cols));
  for (int64_t begin = first; begin < last; begin += kFp8Block) {
    const int64_t end = std::min(last, begin + kFp8Block);
    float amax = kScaleFloor;
    for (int64_t i = begin; i < end; ++i) amax = std::max(amax, std::fabs(x[i]));
    const float scale = amax / kE4m3Max;
    scales[begin / kFp8Block] = scale;
    for (int64_t i = begin; i < end; ++i) codes[i] = f32_to_e4m3(x[i] / scale);
  }
}

}  // namespace

int64_t row_bytes(DType dtype, int64_t cols) {
  const int64_t scales = dtype == DType::kF8E4M3 ? fp8_blocks(cols) * 4 : 0;
  return row_value_bytes(dtype, cols) + scales;
}

Rows packed_rows(DType dtype, const std::byte* data, int64_t stride_bytes, int64_t rows,
                 int64_t cols) {
  Rows r{dtype, data, stride_bytes, nullptr, 0, rows, cols};
  if (dtype == DType::kF8E4M3) {
    r.scales = reinterpret_cast<const float*>(data + row_value_bytes(dtype, cols));
    r.scale_stride = stride_bytes / 4;
  }
  return r;
}

void pack_rows(DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
               std::byte* out, int64_t out_stride_bytes) {
  pack_columns(dtype, x, x_stride, rows, cols, 0, cols, out, out_stride_bytes);
}

void pack_columns(DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
                  int64_t begin, int64_t end, std::byte* out, int64_t out_stride_bytes) {
  WS_CHECK(out_stride_bytes >= row_bytes(dtype, cols) && out_stride_bytes % 4 == 0);
  WS_CHECK(begin % kFp8Block == 0 && end <= cols, "{} {} {}", begin, end, cols);
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + r * x_stride;
    std::byte* to = out + r * out_stride_bytes;
    if (dtype == DType::kF32) {
      std::memcpy(to + begin * 4, from + begin, static_cast<size_t>(end - begin) * 4);
    } else if (dtype == DType::kBF16) {
      auto* half = reinterpret_cast<uint16_t*>(to);
      for (int64_t i = begin; i < end; ++i) half[i] = f32_to_bf16(from[i]);
    } else {
      WS_CHECK(dtype == DType::kF8E4M3);
      pack_fp8_row(from, cols, begin, end, to);
    }
  }
}

}  // namespace wingspan
