// Memory predicted from the config, before anything is allocated.
#pragma once

#include <cstdint>
#include <string>

#include "model/compute.h"
#include "model/config.h"
#include "placement/placement.h"

namespace wingspan {

struct MemoryPlan {
  int64_t shared_weights = 0;  // held once a process
  int64_t expert_weights = 0;  // of the process's ranks
  int64_t kv_cache = 0;        // of the process's ranks
  int64_t activations =
      0;  // buffers of a step and the exchange's working set, of the process's ranks
  int64_t total() const { return shared_weights + expert_weights + kv_cache + activations; }
};

struct MemoryQuestion {
  const ModelConfig* config = nullptr;
  ComputeMode compute = ComputeMode::kBF16;
  DType checkpoint_dtype = DType::kBF16;  // of the matrices
  const Placement* placement = nullptr;
  int first_rank = 0, local_ranks = 1;  // of this process
  int64_t kv_tokens_per_rank = 0;       // positions, rounded up to blocks
  int64_t max_rows_per_rank = 0;
};
MemoryPlan predict_memory(const MemoryQuestion& question);

// Bytes of one expert's weights as kept, of one layer's KV for one position, and of all but
// experts.
int64_t expert_bytes(const ModelConfig& config, ComputeMode compute, DType checkpoint_dtype);
int64_t kv_bytes_per_token(const ModelConfig& config, ComputeMode compute);  // all layers
int64_t shared_weight_bytes(const ModelConfig& config, ComputeMode compute, DType checkpoint_dtype);

// What this process may still use: the least of the machine's available memory, its control group's
// limit, and `limit` if > 0.
int64_t available_memory_bytes(int64_t limit = 0);
// OK, or an error (kInvalidInput) that gives each part, the sum and what is there.
Status check_memory(const MemoryPlan& plan, int64_t available_bytes);

}  // namespace wingspan
