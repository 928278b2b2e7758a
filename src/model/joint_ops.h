// Products with weights that every rank holds (attention, router, shared expert, dense MLP): over
// this rank's rows, or, in a step where all ranks of the process have few, over the rows of all
// (ep/joint_rows.h). Which of the two never changes a bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ep/joint_rows.h"
#include "model/config.h"
#include "model/op_runner.h"

namespace wingspan {

// What the products multiply: float32 rows, rounded to `dtype` before.
struct ProductInput {
  DType dtype = DType::kF32;
  const float* x = nullptr;
  int64_t stride = 0;  // floats from row to row
  int64_t rows = 0, cols = 0;
};

class JointOps {
 public:
  // `joint` may be null: then each rank multiplies its own rows.
  JointOps(const ModelConfig& config, const OpRunner& ops, JointRows* joint);

  void begin_step(int64_t step, std::span<const int64_t> rank_rows) {
    if (joint_ != nullptr) joint_->begin_step(step, rank_rows);
  }
  void set_layer(int layer) { layer_ = layer; }
  // Whether a rank without rows must make the same calls as the others.
  bool joined() const { return joint_ != nullptr && joint_->joined(); }

  // `packed` is scratch for the rows as they are multiplied.
  Status multiply(const ProductInput& x, std::span<const Product> products, Buffer& packed);
  // The same for rows that OpRunner::pack() has made.
  Status multiply(const Rows& x, std::span<const Product> products);
  // y = down(silu(gate x) · up x); `act` [rows, width] and `packed` are scratch.
  Status mlp(const Rows& x, const MlpWeights& w, Buffer& act, Buffer& packed, float* y,
             int64_t y_stride);

 private:
  // The rows of all ranks lie in the joint input; this rank's are `rows` of them.
  Status multiply_joined(DType dtype, int64_t rows, int64_t cols,
                         std::span<const Product> products);

  const OpRunner& ops_;
  JointRows* joint_;
  int layer_ = -1;
  std::vector<Product> products_;  // of the round, with joint outputs
};

// Whether a layer's attention weights are so large that reading them once more a rank costs more
// than waiting for each other. The same on all ranks.
bool joining_pays(const ModelConfig& config);

// What a step's widest calls need.
JointShape joint_shape(const ModelConfig& config, int64_t max_rows);

}  // namespace wingspan
