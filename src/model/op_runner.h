// Kernels over whole matrices: converts rows, splits columns over the rank's threads. How the work
// is split never changes a bit, since an output element has one chain whoever computes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/pool.h"
#include "kernels/kernels.h"
#include "kernels/linear.h"
#include "kernels/rows.h"
#include "model/compute.h"
#include "model/weights.h"
#include "tensor/buffer.h"

namespace wingspan {

inline constexpr int64_t kRowGrain = 16;  // rows of a row-wise op that are worth a thread

// Bytes of `count` float32.
inline size_t floats(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

// A product of some of the input's columns with one weight: a linear layer, or gate·up with SwiGLU.
struct Product {
  const PackedWeight* weight = nullptr;
  const PackedGateUp* gate_up = nullptr;  // instead of `weight`
  float* y = nullptr;                     // [rows][outputs()]
  int64_t y_stride = 0;                   // floats from row to row
  int64_t x_column = 0;  // where its input begins; not 0 only for rows without scales

  int64_t outputs() const { return gate_up != nullptr ? gate_up->width : weight->n; }
  int64_t inputs() const { return gate_up != nullptr ? gate_up->k : weight->k; }
  // Stretches of memory that are read from beginning to end, the unit of splitting.
  int64_t groups() const;
};

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
  // The same for a known input type and place.
  Rows pack_as(DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
               std::byte* to) const;
  // Channels [begin, end) only, begin a multiple of 128, on the calling thread.
  void pack_columns(DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
                    int64_t begin, int64_t end, std::byte* to, int64_t to_stride) const;
  // Bytes that pack() may need for any type.
  static int64_t packed_bytes(int64_t rows, int64_t cols);
  // Bytes from row to row in what pack() makes.
  static int64_t packed_stride(DType dtype, int64_t cols);

  // All products, their columns split over the threads.
  void multiply(const Rows& x, std::span<const Product> products) const;
  // Groups [begin, end) of all products counted through, on the calling thread.
  void multiply_groups(const Rows& x, std::span<const Product> products, int64_t begin,
                       int64_t end) const;
  void rms_norm(const float* x, int64_t x_stride, const std::vector<float>& weight, double eps,
                float* y, int64_t y_stride, int64_t rows) const;

 private:
  int64_t pieces(int64_t rows, int64_t work, int64_t groups) const;

  const Kernels& kernels_;
  Pool& pool_;
  ComputeMode compute_;
};

}  // namespace wingspan
