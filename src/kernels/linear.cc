#include "kernels/linear.h"

#include <cstring>

#include "base/check.h"

namespace wingspan {
namespace {

// Copies one panel of up to 16 rows of [n, k] into [k/2][16][2].
template <class T>
void pack_panel(const std::byte* row_major, int64_t n, int64_t k, int64_t first_row, T* out) {
  const auto* in = reinterpret_cast<const T*>(row_major);
  for (int64_t lane = 0; lane < kPanel && first_row + lane < n; ++lane) {
    const T* row = in + (first_row + lane) * k;
    for (int64_t i = 0; i < k; ++i) out[(i / 2 * kPanel + lane) * 2 + i % 2] = row[i];
  }
}

void pack_any(DType dtype, const std::byte* row_major, int64_t n, int64_t k, int64_t first_row,
              std::byte* out) {
  switch (dtype_size(dtype)) {
    case 4:
      return pack_panel(row_major, n, k, first_row, reinterpret_cast<uint32_t*>(out));
    case 2:
      return pack_panel(row_major, n, k, first_row, reinterpret_cast<uint16_t*>(out));
    default:
      return pack_panel(row_major, n, k, first_row, reinterpret_cast<uint8_t*>(out));
  }
}

int64_t panel_bytes(DType dtype, int64_t k) { return (k + 1) / 2 * 2 * kPanel * dtype_size(dtype); }
int64_t panels(int64_t n) { return (n + kPanel - 1) / kPanel; }
int64_t scale_count(int64_t n, int64_t k) { return fp8_blocks(n) * fp8_blocks(k); }

void check_dtype(DType dtype, const float* scales) {
  WS_CHECK(dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF8E4M3);
  WS_CHECK((dtype == DType::kF8E4M3) == (scales != nullptr));
}

}  // namespace

void check_rows(const Rows& x, DType weight, int64_t k) {
  WS_CHECK(x.cols == k, "{} columns for {} inputs", x.cols, k);
  WS_CHECK(x.dtype != DType::kF8E4M3 || weight == DType::kF8E4M3);
}

int64_t packed_weight_bytes(DType dtype, int64_t n, int64_t k) {
  return panels(n) * panel_bytes(dtype, k) + (dtype == DType::kF8E4M3 ? scale_count(n, k) * 4 : 0);
}

PackedWeight pack_weight(DType dtype, int64_t n, int64_t k, const std::byte* row_major,
                         const float* scales) {
  check_dtype(dtype, scales);
  PackedWeight w;
  w.dtype = dtype;
  w.n = n;
  w.k = k;
  w.data = Buffer(static_cast<size_t>(w.panels() * w.panel_bytes()));
  for (int64_t p = 0; p < w.panels(); ++p) {
    pack_any(dtype, row_major, n, k, p * kPanel, w.data.data() + p * w.panel_bytes());
  }
  if (scales != nullptr) {
    w.scales = Buffer(static_cast<size_t>(scale_count(n, k)) * 4);
    std::memcpy(w.scales.data(), scales, w.scales.size());
  }
  return w;
}

int64_t packed_gate_up_bytes(DType dtype, int64_t width, int64_t k) {
  return 2 * packed_weight_bytes(dtype, width, k);
}

PackedGateUp pack_gate_up(DType dtype, int64_t width, int64_t k, const std::byte* gate,
                          const float* gate_scales, const std::byte* up, const float* up_scales) {
  check_dtype(dtype, gate_scales);
  check_dtype(dtype, up_scales);
  PackedGateUp w;
  w.dtype = dtype;
  w.width = width;
  w.k = k;
  const int64_t bytes = panel_bytes(dtype, k);
  w.data = Buffer(static_cast<size_t>(2 * w.panels() * bytes));
  for (int64_t p = 0; p < w.panels(); ++p) {
    pack_any(dtype, gate, width, k, p * kPanel, w.data.data() + 2 * p * bytes);
    pack_any(dtype, up, width, k, p * kPanel, w.data.data() + (2 * p + 1) * bytes);
  }
  if (gate_scales != nullptr) {
    const auto size = static_cast<size_t>(scale_count(width, k)) * 4;
    w.scales = Buffer(2 * size);
    std::memcpy(w.scales.data(), gate_scales, size);
    std::memcpy(w.scales.data() + size, up_scales, size);
  }
  return w;
}

}  // namespace wingspan
