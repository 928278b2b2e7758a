#include "kernels/linear.h"

#include <cstring>

#include "base/check.h"

namespace wingspan {
namespace {

// One panel of up to 16 rows of [n, k], to `place` in the packed weight. All rows go forward
// together, so each line of the panel is written once, whole.
template <class T>
void pack_panel(DType dtype, const std::byte* row_major, int64_t n, int64_t k, int64_t first_row,
                const PanelPlace& place, std::byte* packed) {
  const T* in = reinterpret_cast<const T*>(row_major) + first_row * k;
  T* out = reinterpret_cast<T*>(packed) + place.first;
  const int64_t lanes = n - first_row < kPanel ? n - first_row : kPanel;
  for (int64_t i = 0; i + 1 < k; i += 2) {
    T* pair = out + i / 2 * place.stride;
    if (dtype == DType::kF32) {
      for (int64_t lane = 0; lane < lanes; ++lane) {
        pair[pair_place(DType::kF32, 0, lane)] = in[lane * k + i];
        pair[pair_place(DType::kF32, 1, lane)] = in[lane * k + i + 1];
      }
    } else {  // the two values lie side by side
      for (int64_t lane = 0; lane < lanes; ++lane) {
        std::memcpy(pair + pair_place(dtype, 0, lane), in + lane * k + i, 2 * sizeof(T));
      }
    }
  }
  if (k % 2 == 0) return;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    out[k / 2 * place.stride + pair_place(dtype, 0, lane)] = in[lane * k + k - 1];
  }
}

void pack_any(DType dtype, const std::byte* row_major, int64_t n, int64_t k, int64_t first_row,
              const PanelPlace& place, std::byte* packed) {
  switch (dtype_size(dtype)) {
    case 4:
      return pack_panel<uint32_t>(dtype, row_major, n, k, first_row, place, packed);
    case 2:
      return pack_panel<uint16_t>(dtype, row_major, n, k, first_row, place, packed);
    default:
      return pack_panel<uint8_t>(dtype, row_major, n, k, first_row, place, packed);
  }
}

bool has_nan_codes(DType dtype, const Buffer& data) {
  if (dtype != DType::kF8E4M3) return false;
  unsigned found = 0;
  for (const std::byte code : data.bytes()) {
    found |= (static_cast<unsigned>(code) & 0x7fU) == 0x7fU ? 1U : 0U;
  }
  return found != 0;
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
    pack_any(dtype, row_major, n, k, p * kPanel, panel_place(w.panels(), k, p), w.data.data());
  }
  w.nan_codes = has_nan_codes(dtype, w.data);
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
    const int64_t all = 2 * w.panels();
    pack_any(dtype, gate, width, k, p * kPanel, panel_place(all, k, 2 * p), w.data.data());
    pack_any(dtype, up, width, k, p * kPanel, panel_place(all, k, 2 * p + 1), w.data.data());
  }
  w.nan_codes = has_nan_codes(dtype, w.data);
  if (gate_scales != nullptr) {
    const auto size = static_cast<size_t>(scale_count(width, k)) * 4;
    w.scales = Buffer(2 * size);
    std::memcpy(w.scales.data(), gate_scales, size);
    std::memcpy(w.scales.data() + size, up_scales, size);
  }
  return w;
}

}  // namespace wingspan
