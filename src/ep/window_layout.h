// What lies where in a dispatch region: written by the sender, read by the receiver, described
// once.
//
//   header (64 bytes) | pairs [n_pairs] {row, local slot} | rows [n_rows][row_stride]
//
// Outputs come back as [n_pairs][hidden] float32 in the order of the pairs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ep/exchange.h"

namespace wingspan {

struct WindowHeader {
  uint32_t rows = 0;
  uint32_t pairs = 0;
  uint32_t row_stride = 0;
  uint32_t reserved = 0;
};

struct WindowPair {
  uint32_t row = 0;
  uint32_t local_slot = 0;
};

struct WindowLayout {
  explicit WindowLayout(const ExchangeShape& shape)
      : row_stride(round_up(row_bytes(shape.row_dtype, shape.hidden))),
        max_rows(shape.max_rows),
        max_pairs(shape.max_rows * shape.top_k),
        output_bytes(shape.hidden * static_cast<int64_t>(sizeof(float))) {}

  static constexpr int64_t kAlign = 64;
  static constexpr int64_t round_up(int64_t bytes) {
    return (bytes + kAlign - 1) / kAlign * kAlign;
  }

  static int64_t pairs_offset() { return kAlign; }
  static int64_t rows_offset(int64_t pairs) {
    return kAlign + round_up(pairs * static_cast<int64_t>(sizeof(WindowPair)));
  }
  int64_t used(int64_t rows, int64_t pairs) const {
    return rows == 0 ? 0 : rows_offset(pairs) + rows * row_stride;
  }
  int64_t dispatch_capacity() const { return used(max_rows, max_pairs); }
  int64_t combine_capacity() const { return max_pairs * output_bytes; }

  int64_t row_stride, max_rows, max_pairs, output_bytes;
};

}  // namespace wingspan
