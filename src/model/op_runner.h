// Kernels over whole matrices: converts rows, splits columns over the rank's threads. How the work
// is split never changes a bit, since an output element has one chain whoever computes it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/pool.h"
#include "kernels/kernels.h"
#include "kernels/rows.h"
#include "model/compute.h"
#include "model/weights.h"
#include "tensor/buffer.h"

namespace wingspan {

inline constexpr int64_t kRowGrain = 16;  // rows of a row-wise op that are worth a thread

// Bytes of `count` float32.
inline size_t floats(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

class OpRunner {
 public:
  OpRunner(const Kernels& kernels, Pool& pool, ComputeMode compute)
      : kernels_(kernels), pool_(pool), compute_(compute) {}

  const Kernels& kernels() const { return kernels_; }
  Pool& pool() const { return pool_; }
  ComputeMode compute() const { return compute_; }

  // Converts x [rows, cols] to the input type of `weight_dtype`, into `to` (large enough:
  // packed_bytes()).
  Rows pack(DType weight_dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
            Buffer& to) const;
  // Bytes that pack() may need for any type.
  static int64_t packed_bytes(int64_t rows, int64_t cols);
  // Bytes from row to row in what pack() makes.
  static int64_t packed_stride(DType dtype, int64_t cols);

  void linear(const Rows& x, const PackedWeight& w, float* y, int64_t y_stride) const;
  void gate_up(const Rows& x, const PackedGateUp& w, float* y, int64_t y_stride) const;
  void rms_norm(const float* x, int64_t x_stride, const std::vector<float>& weight, double eps,
                float* y, int64_t y_stride, int64_t rows) const;
  // y = down(silu(gate x) · up x); `act` [rows, width] and `packed` are scratch.
  void mlp(const Rows& x, const MlpWeights& w, Buffer& act, Buffer& packed, float* y,
           int64_t y_stride) const;

 private:
  int64_t pieces(int64_t rows, int64_t work, int64_t groups) const;

  const Kernels& kernels_;
  Pool& pool_;
  ComputeMode compute_;
};

}  // namespace wingspan
