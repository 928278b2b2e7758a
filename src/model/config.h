// config.json of a Hugging Face directory -> what the forward pass composes: an attention kind, a
// router kind and an MLP kind for each layer.
//
// A family is one reader that fills this struct (config_deepseek.cc); the engine never asks for the family's name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "kernels/rope.h"
#include "moe/router.h"
#include "tensor/dtype.h"

namespace wingspan {

enum class AttentionKind { kMla };
enum class MlpKind { kDense, kMoe };

struct MlaConfig {
  int64_t heads = 0;
  int64_t q_lora = 0;  // 0: queries are not compressed
  int64_t kv_lora = 0;  // latent width
  int64_t nope = 0, rope = 0, v = 0;  // per head
  double rope_theta = 10000;
  std::optional<YarnParams> yarn;
  double softmax_scale = 1;  // (nope + rope)^−½, with YaRN times (0.1·mscale_all_dim·ln factor + 1)²
  double latent_norm_eps = 1e-6;  // q_a and kv_a norms: 1e-6 whatever rms_norm_eps says
  bool bias = false;
};

struct MoeConfig {
  RouterSpec router;
  bool router_bias = false;  // e_score_correction_bias is there
  int64_t expert_width = 0;  // moe_intermediate_size
  int64_t shared_width = 0;  // n_shared_experts × moe_intermediate_size; 0: none
};

struct ModelConfig {
  std::string family;       // model_type: "deepseek_v3", "kimi_k2", "deepseek_v2"
  std::string name;         // the directory's name
  int64_t vocab = 0, hidden = 0, layers = 0, max_positions = 0;
  double rms_eps = 1e-6;
  bool tied_embeddings = false;
  std::vector<int32_t> eos;  // config.json and generation_config.json
  std::optional<int32_t> bos;
  AttentionKind attention = AttentionKind::kMla;
  MlaConfig mla;
  std::vector<MlpKind> mlp;  // [layers]
  int64_t dense_width = 0;   // intermediate_size
  MoeConfig moe;
  int64_t mtp_layers = 0;   // layers `layers`, `layers` + 1, … of the checkpoint; recognised, left out
  bool fp8_blocks = false;  // weights F8_E4M3 with weight_scale_inv in 128×128 blocks

  std::vector<int> moe_layers() const;  // layer numbers with MlpKind::kMoe, ascending
};

// Reads and checks `directory`/config.json (and generation_config.json where present).
// Errors (kInvalidInput) name the key: an unknown family, quantisation, activation, scoring, top-k method or rope scaling; a dimension
// that is missing, not positive, absurdly large (products must not overflow) or does not fit another.
Expected<ModelConfig> read_model_config(const Files& files, const std::string& directory);
// The same for one config.json given by path or directory (inspect).
Expected<ModelConfig> parse_model_config(std::string_view text, const std::string& where);

// One tensor that the model needs from a checkpoint.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  bool fp8_capable = false;  // may be F8_E4M3 with a "<name>_scale_inv" of 128×128 blocks beside it
};
// Every tensor of layer `layer` but the routed experts; of one routed expert; and the global ones
// (embedding, final norm, head unless tied). The only place that knows the names.
std::vector<TensorSpec> layer_tensors(const ModelConfig& config, int layer);
std::vector<TensorSpec> expert_tensors(const ModelConfig& config, int layer, int expert);  // gate, up, down
std::vector<TensorSpec> global_tensors(const ModelConfig& config);

struct ParameterCount {
  int64_t total = 0;             // without MTP layers
  int64_t active_per_token = 0;  // embeddings' one row not counted; head counted
  int64_t attention = 0, dense_mlp = 0, routed_experts = 0, shared_experts = 0, router = 0, embedding_and_head = 0, norms = 0;
};
ParameterCount count_parameters(const ModelConfig& config);

}  // namespace wingspan
