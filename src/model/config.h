// config.json of a Hugging Face directory -> what the forward pass composes: an attention kind, a
// router kind and an MLP kind for each layer.
//
// A family is one reader that fills this struct (config_deepseek.cc); the engine never asks for the
// family's name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
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
  int64_t q_lora = 0;                 // 0: queries are not compressed
  int64_t kv_lora = 0;                // latent width
  int64_t nope = 0, rope = 0, v = 0;  // per head
  double rope_theta = 10000;
  std::optional<YarnParams> yarn;
  // (nope + rope)^−½, with YaRN times (0.1·mscale_all_dim·ln factor + 1)².
  double softmax_scale = 1;
  double latent_norm_eps = 1e-6;  // q_a and kv_a norms: 1e-6 whatever rms_norm_eps says
};

struct MoeConfig {
  RouterSpec router;
  bool router_bias = false;  // e_score_correction_bias is there
  int64_t expert_width = 0;  // moe_intermediate_size
  int64_t shared_width = 0;  // n_shared_experts × moe_intermediate_size; 0: none
};

struct ModelConfig {
  std::string family;  // model_type: "deepseek_v3", "kimi_k2", "deepseek_v2"
  std::string name;    // the directory's name
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
  int64_t mtp_layers = 0;   // layers `layers`, `layers` + 1, … of the checkpoint: not loaded
  bool fp8_blocks = false;  // weights F8_E4M3 with weight_scale_inv in 128×128 blocks

  std::vector<int> moe_layers() const;  // layer numbers with MlpKind::kMoe, ascending
};

// Reads and checks config.json, and generation_config.json beside it where present (for its EOS
// ids). `path` is a directory or the file itself.
// Errors (kInvalidInput) name the key: an unknown family, quantisation, activation, scoring, top-k
// method or rope scaling; a dimension that is missing, not positive, too large or does not fit
// another.
Expected<ModelConfig> read_model_config(const Files& files, const std::string& path);
// config.json alone.
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
// Gate, up, down.
std::vector<TensorSpec> expert_tensors(const ModelConfig& config, int layer, int expert);
std::vector<TensorSpec> global_tensors(const ModelConfig& config);

// Numbers of weights; FP8 scales are not counted.
struct ParameterCount {
  int64_t total = 0;             // without MTP layers
  int64_t active_per_token = 0;  // top-k experts; the head counts, the embedding doesn't
  int64_t attention = 0, dense_mlp = 0, routed_experts = 0, shared_experts = 0, router = 0,
          embedding_and_head = 0, norms = 0;
};
ParameterCount count_parameters(const ModelConfig& config);

// What a checkpoint of `dtype` weighs on disk without MTP layers: matrices that may be FP8 in
// `dtype` (with their block scales), the others BF16 then, e_score_correction_bias float32.
int64_t checkpoint_bytes(const ModelConfig& config, DType dtype);
// One routed expert of it; 0 without MoE layers.
int64_t expert_checkpoint_bytes(const ModelConfig& config, DType dtype);

}  // namespace wingspan
