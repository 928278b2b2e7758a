// A model's weights in the form that kernels read: what every rank needs (shared by the ranks of
// one process), and the experts of one rank's slots.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/pool.h"
#include "base/status.h"
#include "kernels/linear.h"
#include "model/compute.h"
#include "model/config.h"
#include "model/weight_source.h"
#include "placement/placement.h"

namespace wingspan {

struct MlpWeights {
  PackedGateUp gate_up;
  PackedWeight down;
  int64_t bytes() const { return gate_up.bytes() + down.bytes(); }
};

struct MlaWeights {
  bool compressed_query = false;
  PackedWeight q_a, q_b;  // q_b alone is q_proj when queries are not compressed
  std::vector<float> q_a_norm, kv_a_norm;
  PackedWeight kv_a;             // [kv_lora + rope, hidden]
  std::vector<PackedWeight> uk;  // per head: [kv_lora, nope], q_nope -> latent
  std::vector<PackedWeight> uv;  // per head: [v, kv_lora], latent -> value
  PackedWeight o;
};

struct MoeWeights {
  PackedWeight router;      // [experts, hidden]
  std::vector<float> bias;  // [experts], empty: none
  std::optional<MlpWeights> shared;
};

struct LayerWeights {
  std::vector<float> input_norm, post_attention_norm;
  MlaWeights mla;
  std::optional<MlpWeights> dense;
  std::optional<MoeWeights> moe;
};

// Read-only after loading.
struct ModelWeights {
  RawTensor embedding;  // [vocab, hidden], F32 or BF16
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;
  PackedWeight head;
  int64_t bytes = 0;
};

// Bytes of weights loaded so far, read by whoever draws the bar.
struct LoadProgress {
  std::atomic<int64_t> bytes_done{0};
  std::atomic<int64_t> bytes_total{0};
};

// Everything but routed experts.
Expected<std::unique_ptr<ModelWeights>> load_model_weights(const ModelConfig& config,
                                                           const WeightSource& source,
                                                           ComputeMode compute, Pool& pool,
                                                           LoadProgress* progress);

// The experts of one rank: experts[m][s] for the m-th MoE layer and the rank's s-th slot.
struct RankExperts {
  std::vector<std::vector<MlpWeights>> experts;
  // Of the packed bytes (XXH3), in the same order: replicas must have equal ones (rule 5).
  std::vector<std::vector<uint64_t>> digests;
  int64_t bytes = 0;
};
Expected<RankExperts> load_rank_experts(const ModelConfig& config, const WeightSource& source,
                                        ComputeMode compute, const Placement& placement, int rank,
                                        Pool& pool, LoadProgress* progress);

}  // namespace wingspan
