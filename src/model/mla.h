// Multi-head latent attention in the absorbed form, for every token alike: what was prompt, chunk,
// cache or generated never shows in the bits.
//
// Formulas: docs/models.md, "MLA".
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/rope.h"
#include "model/config.h"
#include "model/joint_ops.h"
#include "model/kv_cache.h"
#include "model/op_runner.h"
#include "model/step.h"

namespace wingspan {

class MlaAttention {
 public:
  MlaAttention(const ModelConfig& config, const OpRunner& ops, JointOps& joint, KvCache& cache,
               const RopeTable& rope, int64_t max_rows);

  // x [rows][hidden], after the input norm -> out [rows][hidden]; writes the rows' KV first.
  Status run(const MlaWeights& weights, int layer, const float* x, const StepInput& step,
             float* out);

 private:
  void set_places(int layer, const StepInput& step);
  Status project(const MlaWeights& w, const float* x, int64_t rows);
  void store_kv(const MlaWeights& w, int layer, const StepInput& step);
  Status attend_slice(const MlaWeights& w, int64_t begin, int64_t end);
  void plan_tasks(int64_t begin, int64_t end);
  void attend_task(int64_t slice_begin, int64_t task, int64_t part, int64_t parts);
  Status absorb_queries(const MlaWeights& w, int64_t begin, int64_t end);
  // An input of products with weights of type `weight`.
  ProductInput input(DType weight, const float* x, int64_t rows, int64_t cols) const;

  // Rows of one sequence that are attended to by one call of the kernel.
  struct Task {
    int64_t row, rows;
  };

  const ModelConfig& config_;
  const MlaConfig& c_;
  const OpRunner& ops_;
  JointOps& joint_;
  KvCache& cache_;
  const RopeTable& rope_;
  int64_t q_width_, kv_width_, q_stride_;
  // Of the current call, by row.
  std::vector<int64_t> positions_;
  std::vector<const std::byte* const*> row_blocks_;
  std::vector<const std::byte*> block_pointers_;
  std::vector<Task> tasks_;       // of the slice at hand
  std::vector<Product> by_head_;  // one a head
  // Scratch, sized once.
  Buffer packed_, q_latent_, q_, kv_, absorbed_, latent_out_, values_;
};

}  // namespace wingspan
