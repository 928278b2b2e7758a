#include "model/op_runner.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "base/fault.h"

namespace wingspan {
namespace {

// Below this many multiply-adds, waking the other threads costs more than they save.
constexpr int64_t kSmallWork = 1 << 16;
constexpr int64_t kFewRows = 16;
constexpr int64_t kGateUpGrain = kGroup / 2;  // gate and up of an output lie side by side

// The fault of a scale that depends on the batch: rounds as if all rows shared one.
std::vector<float> scaled_over_batch(const float* x, int64_t x_stride, int64_t rows, int64_t cols) {
  float largest = 1e-20F;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) largest = std::max(largest, std::fabs(x[r * x_stride + c]));
  }
  std::vector<float> out(static_cast<size_t>(rows * cols));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      out[static_cast<size_t>(r * cols + c)] = x[r * x_stride + c] / largest * largest;
    }
  }
  return out;
}

}  // namespace

int64_t Product::groups() const {
  if (gate_up != nullptr) return (gate_up->panels() + kGateUpGrain - 1) / kGateUpGrain;
  return (weight->panels() + kGroup - 1) / kGroup;
}

int64_t OpRunner::packed_stride(DType dtype, int64_t cols) {
  return (row_bytes(dtype, cols) + 63) / 64 * 64;
}

int64_t OpRunner::packed_bytes(int64_t rows, int64_t cols) {
  return rows * packed_stride(DType::kF32, cols);
}

Rows OpRunner::pack(DType weight_dtype, const float* x, int64_t x_stride, int64_t rows,
                    int64_t cols, Buffer& to) const {
  const DType dtype = activation_type(compute_, weight_dtype);
  const int64_t stride = packed_stride(dtype, cols);
  WS_CHECK(static_cast<int64_t>(to.size()) >= rows * stride, "{} < {}", to.size(), rows * stride);
  return pack_as(dtype, x, x_stride, rows, cols, to.data());
}

Rows OpRunner::pack_as(DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
                       std::byte* to) const {
  const int64_t stride = packed_stride(dtype, cols);
  if (fault_is(Fault::kScaleOverBatch)) [[unlikely]] {
    const auto faulty = scaled_over_batch(x, x_stride, rows, cols);
    pack_rows(dtype, faulty.data(), cols, rows, cols, to, stride);
  } else {
    run_ranges(pool_, rows, kRowGrain, [&](int64_t, int64_t begin, int64_t end) {
      pack_columns(dtype, x + begin * x_stride, x_stride, end - begin, cols, 0, cols,
                   to + begin * stride, stride);
    });
  }
  return packed_rows(dtype, to, stride, rows, cols);
}

void OpRunner::pack_columns(DType dtype, const float* x, int64_t x_stride, int64_t rows,
                            int64_t cols, int64_t begin, int64_t end, std::byte* to,
                            int64_t to_stride) const {
  if (dtype != DType::kBF16) {
    wingspan::pack_columns(dtype, x, x_stride, rows, cols, begin, end, to, to_stride);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    kernels_.narrow_bf16(x + r * x_stride + begin, end - begin,
                         reinterpret_cast<uint16_t*>(to + r * to_stride) + begin);
  }
}

// How many pieces threads take turns at: more than threads where rows are few, so that a thread
// that lost its core for a while does not hold up the others; every piece packs all rows for
// itself.
int64_t OpRunner::pieces(int64_t rows, int64_t work, int64_t groups) const {
  const int64_t threads = pool_.threads();
  if (threads == 1 || work < kSmallWork) return 1;
  return std::min(groups, rows <= kFewRows ? 4 * threads : threads);
}

void OpRunner::multiply_groups(const Rows& x, std::span<const Product> products, int64_t begin,
                               int64_t end) const {
  for (const Product& p : products) {
    const int64_t groups = p.groups();
    const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, groups);
    begin -= groups;
    end -= groups;
    if (first >= last) continue;
    Rows in = x;
    if (p.x_column > 0) in.data += p.x_column * dtype_size(in.dtype);
    in.cols = p.inputs();
    const int64_t grain = p.gate_up != nullptr ? kGateUpGrain : kGroup;
    const int64_t panel = first * grain;
    if (p.gate_up != nullptr) {
      kernels_.gate_up(
          {in, p.gate_up, p.y, p.y_stride, panel, std::min(p.gate_up->panels(), last * grain)});
    } else {
      kernels_.linear(
          {in, p.weight, p.y, p.y_stride, panel, std::min(p.weight->panels(), last * grain)});
    }
  }
}

void OpRunner::multiply(const Rows& x, std::span<const Product> products) const {
  if (x.rows == 0) return;
  int64_t groups = 0, work = 0;
  for (const Product& p : products) {
    groups += p.groups();
    work += x.rows * p.outputs() * p.inputs();
  }
  const int64_t parts = pieces(x.rows, work, groups);
  pool_.run(parts, [&](int64_t i) {
    multiply_groups(x, products, groups * i / parts, groups * (i + 1) / parts);
  });
}

void OpRunner::rms_norm(const float* x, int64_t x_stride, const std::vector<float>& weight,
                        double eps, float* y, int64_t y_stride, int64_t rows) const {
  run_ranges(pool_, rows, kRowGrain, [&](int64_t, int64_t begin, int64_t end) {
    kernels_.rms_norm({x + begin * x_stride, x_stride, weight.data(), static_cast<float>(eps),
                       y + begin * y_stride, y_stride, end - begin,
                       static_cast<int64_t>(weight.size())});
  });
}

}  // namespace wingspan
