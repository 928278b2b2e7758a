// Writes small DeepSeek-V3 models for tests into a temporary directory.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/rng.h"
#include "model/config.h"
#include "support/paths.h"
#include "tensor/safetensors.h"

namespace wingspan::test {

struct TinyModel {
  int experts = 16;
  int top_k = 4;
  bool tied_router_rows = false;  // experts 2i and 2i + 1 always get equal scores
  int magnitude_bits = 8;         // weights are spread over so many powers of two
  int hot_token = -1;             // its embedding is finite, but its square is not
  uint64_t seed = 1;
};

inline std::string tiny_config(const TinyModel& m) {
  return R"({"architectures":["DeepseekV3ForCausalLM"],"model_type":"deepseek_v3","vocab_size":64,
"hidden_size":64,"intermediate_size":96,"moe_intermediate_size":32,"num_hidden_layers":3,
"num_attention_heads":2,"num_key_value_heads":2,"q_lora_rank":32,"kv_lora_rank":32,
"qk_nope_head_dim":16,"qk_rope_head_dim":8,"v_head_dim":16,"n_shared_experts":1,
"n_group":1,"topk_group":1,"first_k_dense_replace":1,"moe_layer_freq":1,
"routed_scaling_factor":1.0,"norm_topk_prob":true,"scoring_func":"sigmoid","topk_method":"noaux_tc",
"hidden_act":"silu","rms_norm_eps":1e-06,"rope_theta":10000.0,"rope_scaling":null,
"max_position_embeddings":256,"tie_word_embeddings":false,"eos_token_id":1,"bos_token_id":0,
"torch_dtype":"float32","n_routed_experts":)" +
         std::to_string(m.experts) + R"(,"num_experts_per_tok":)" + std::to_string(m.top_k) + "}";
}

// Values whose sums depend on the order of the addends: signs and powers of two mixed.
inline std::vector<float> ill_conditioned_values(Rng& rng, const TensorSpec& spec,
                                                 const TinyModel& m) {
  int64_t elements = 1;
  for (int64_t d : spec.shape) elements *= d;
  std::vector<float> out(static_cast<size_t>(elements));
  const bool norm = spec.name.find("norm") != std::string::npos;
  const double base = norm ? 1.0 : 1.0 / std::sqrt(static_cast<double>(spec.shape.back()));
  for (float& v : out) {
    const auto shift = static_cast<int>(rng.below(static_cast<uint64_t>(m.magnitude_bits)));
    const double spread = norm ? 1.0 : std::ldexp(1.0, shift - m.magnitude_bits / 2);
    v = static_cast<float>(norm ? 1.0 + 0.1 * rng.normal() : base * spread * rng.normal());
  }
  if (spec.name.find("e_score_correction_bias") != std::string::npos) {
    out.assign(out.size(), 0.0F);
  }
  if (m.hot_token >= 0 && spec.name.find("embed_tokens") != std::string::npos) {
    const auto width = static_cast<size_t>(spec.shape[1]);
    std::fill_n(out.begin() + static_cast<int64_t>(static_cast<size_t>(m.hot_token) * width), width,
                3e38F);
  }
  const bool router = spec.name.find("mlp.gate.weight") != std::string::npos;
  if (router && m.tied_router_rows) {
    const auto width = static_cast<size_t>(spec.shape[1]);
    for (size_t e = 0; e + 1 < static_cast<size_t>(spec.shape[0]); e += 2) {
      std::copy_n(out.begin() + static_cast<int64_t>(e * width), width,
                  out.begin() + static_cast<int64_t>((e + 1) * width));
    }
  }
  return out;
}

// Returns the directory. Aborts the test program if it can't be written.
inline std::string write_tiny_model(const TinyModel& m) {
  const std::string directory = temporary_directory();
  const Files& files = real_files();
  if (!files.write_text(directory + "/config.json", tiny_config(m))) std::abort();
  auto config = read_model_config(files, directory);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().message().c_str());
    std::abort();
  }
  std::vector<TensorSpec> specs = global_tensors(*config);
  for (int layer = 0; layer < config->layers; ++layer) {
    for (auto& s : layer_tensors(*config, layer)) specs.push_back(s);
    if (config->mlp[static_cast<size_t>(layer)] != MlpKind::kMoe) continue;
    for (int e = 0; e < m.experts; ++e) {
      for (auto& s : expert_tensors(*config, layer, e)) specs.push_back(s);
    }
  }
  Rng rng(m.seed);
  std::vector<std::vector<float>> values;
  std::vector<TensorToWrite> tensors;
  values.reserve(specs.size());
  for (const TensorSpec& s : specs) {
    values.push_back(ill_conditioned_values(rng, s, m));
    tensors.push_back(
        {s.name, DType::kF32, s.shape, std::as_bytes(std::span<const float>(values.back()))});
  }
  if (!write_safetensors(files, directory + "/model.safetensors", tensors)) std::abort();
  return directory;
}

}  // namespace wingspan::test
