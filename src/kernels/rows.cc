#include "kernels/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace wingspan {
namespace {

constexpr float kScaleFloor = 1e-4F;
constexpr float kE4m3Max = 448.0F;

int64_t data_bytes(DType dtype, int64_t cols) { return (cols * dtype_size(dtype) + 3) / 4 * 4; }

void pack_fp8_row(const float* x, int64_t cols, std::byte* out) {
  auto* codes = reinterpret_cast<uint8_t*>(out);
  auto* scales = reinterpret_cast<float*>(out + data_bytes(DType::kF8E4M3, cols));
  for (int64_t b = 0; b < fp8_blocks(cols); ++b) {
    const int64_t begin = b * kFp8Block, end = std::min(cols, begin + kFp8Block);
    float amax = kScaleFloor;
    for (int64_t i = begin; i < end; ++i) amax = std::max(amax, std::fabs(x[i]));
    const float scale = amax / kE4m3Max;
    scales[b] = scale;
    for (int64_t i = begin; i < end; ++i) codes[i] = f32_to_e4m3(x[i] / scale);
  }
}

}  // namespace

int64_t row_bytes(DType dtype, int64_t cols) {
  const int64_t scales = dtype == DType::kF8E4M3 ? fp8_blocks(cols) * 4 : 0;
  return data_bytes(dtype, cols) + scales;
}

Rows packed_rows(DType dtype, const std::byte* data, int64_t stride_bytes, int64_t rows,
                 int64_t cols) {
  Rows r{dtype, data, stride_bytes, nullptr, 0, rows, cols};
  if (dtype == DType::kF8E4M3) {
    r.scales = reinterpret_cast<const float*>(data + data_bytes(dtype, cols));
    r.scale_stride = stride_bytes / 4;
  }
  return r;
}

void pack_rows(DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
               std::byte* out, int64_t out_stride_bytes) {
  WS_CHECK(out_stride_bytes >= row_bytes(dtype, cols) && out_stride_bytes % 4 == 0);
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + r * x_stride;
    std::byte* to = out + r * out_stride_bytes;
    if (dtype == DType::kF32) {
      std::memcpy(to, from, static_cast<size_t>(cols) * 4);
    } else if (dtype == DType::kBF16) {
      auto* half = reinterpret_cast<uint16_t*>(to);
      for (int64_t i = 0; i < cols; ++i) half[i] = f32_to_bf16(from[i]);
    } else {
      WS_CHECK(dtype == DType::kF8E4M3);
      pack_fp8_row(from, cols, to);
    }
  }
}

}  // namespace wingspan
