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
  if (fault_is(Fault::kScaleOverBatch)) [[unlikely]] {
    const auto faulty = scaled_over_batch(x, x_stride, rows, cols);
    pack_rows(dtype, faulty.data(), cols, rows, cols, to.data(), stride);
  } else {
    run_ranges(pool_, rows, kRowGrain, [&](int64_t, int64_t begin, int64_t end) {
      if (dtype != DType::kBF16) {
        pack_rows(dtype, x + begin * x_stride, x_stride, end - begin, cols,
                  to.data() + begin * stride, stride);
        return;
      }
      for (int64_t r = begin; r < end; ++r) {
        kernels_.narrow_bf16(x + r * x_stride, cols,
                             reinterpret_cast<uint16_t*>(to.data() + r * stride));
      }
    });
  }
  return packed_rows(dtype, to.data(), stride, rows, cols);
}

// How many pieces threads take turns at: more than threads where rows are few, so that a thread
// that lost its core for a while does not hold up the others; every piece packs all rows for
// itself.
int64_t OpRunner::pieces(int64_t rows, int64_t work, int64_t groups) const {
  const int64_t threads = pool_.threads();
  if (threads == 1 || work < kSmallWork) return 1;
  return std::min(groups, rows <= kFewRows ? 4 * threads : threads);
}

void OpRunner::linear(const Rows& x, const PackedWeight& w, float* y, int64_t y_stride) const {
  if (x.rows == 0) return;
  const LinearArgs args{x, &w, y, y_stride, 0, w.panels()};
  const int64_t groups = (w.panels() + kGroup - 1) / kGroup;
  const int64_t parts = pieces(x.rows, x.rows * w.n * w.k, groups);
  pool_.run(parts, [&](int64_t i) {
    LinearArgs part = args;
    part.panel_begin = groups * i / parts * kGroup;
    part.panel_end = std::min(w.panels(), groups * (i + 1) / parts * kGroup);
    kernels_.linear(part);
  });
}

void OpRunner::gate_up(const Rows& x, const PackedGateUp& w, float* y, int64_t y_stride) const {
  if (x.rows == 0) return;
  const GateUpArgs args{x, &w, y, y_stride, 0, w.panels()};
  constexpr int64_t kOutputs = kGroup / 2;  // gate and up of an output lie side by side
  const int64_t groups = (w.panels() + kOutputs - 1) / kOutputs;
  const int64_t parts = pieces(x.rows, x.rows * w.width * w.k, groups);
  pool_.run(parts, [&](int64_t i) {
    GateUpArgs part = args;
    part.panel_begin = groups * i / parts * kOutputs;
    part.panel_end = std::min(w.panels(), groups * (i + 1) / parts * kOutputs);
    kernels_.gate_up(part);
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

void OpRunner::mlp(const Rows& x, const MlpWeights& w, Buffer& act, Buffer& packed, float* y,
                   int64_t y_stride) const {
  const int64_t width = w.gate_up.width;
  gate_up(x, w.gate_up, act.as<float>(), width);
  const Rows inner = pack(w.down.dtype, act.as<float>(), width, x.rows, width, packed);
  linear(inner, w.down, y, y_stride);
}

}  // namespace wingspan
