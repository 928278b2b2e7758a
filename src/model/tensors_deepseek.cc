// Names and shapes of a checkpoint's tensors: docs/models.md.
#include <fmt/format.h>

#include "model/config.h"

namespace wingspan {
namespace {

// Collects the tensors under one prefix.
class Names {
 public:
  explicit Names(std::string prefix) : prefix_(std::move(prefix)) {}
  void plain(const char* name, std::vector<int64_t> shape) {
    specs_.push_back({prefix_ + name, std::move(shape), false});
  }
  void linear(const std::string& name, int64_t out, int64_t in) {
    specs_.push_back({prefix_ + name + ".weight", {out, in}, true});
  }
  void mlp(const std::string& name, int64_t width, int64_t hidden) {
    linear(name + "gate_proj", width, hidden);
    linear(name + "up_proj", width, hidden);
    linear(name + "down_proj", hidden, width);
  }
  std::vector<TensorSpec> take() { return std::move(specs_); }

 private:
  std::string prefix_;
  std::vector<TensorSpec> specs_;
};

void add_mla(Names& names, const MlaConfig& c, int64_t hidden) {
  const int64_t q_width = c.heads * (c.nope + c.rope);
  if (c.q_lora > 0) {
    names.linear("self_attn.q_a_proj", c.q_lora, hidden);
    names.plain("self_attn.q_a_layernorm.weight", {c.q_lora});
    names.linear("self_attn.q_b_proj", q_width, c.q_lora);
  } else {
    names.linear("self_attn.q_proj", q_width, hidden);
  }
  names.linear("self_attn.kv_a_proj_with_mqa", c.kv_lora + c.rope, hidden);
  names.plain("self_attn.kv_a_layernorm.weight", {c.kv_lora});
  names.linear("self_attn.kv_b_proj", c.heads * (c.nope + c.v), c.kv_lora);
  names.linear("self_attn.o_proj", hidden, c.heads * c.v);
}

}  // namespace

std::vector<TensorSpec> layer_tensors(const ModelConfig& config, int layer) {
  Names names(fmt::format("model.layers.{}.", layer));
  names.plain("input_layernorm.weight", {config.hidden});
  names.plain("post_attention_layernorm.weight", {config.hidden});
  add_mla(names, config.mla, config.hidden);
  if (config.mlp[static_cast<size_t>(layer)] == MlpKind::kDense) {
    names.mlp("mlp.", config.dense_width, config.hidden);
    return names.take();
  }
  const MoeConfig& moe = config.moe;
  names.plain("mlp.gate.weight", {moe.router.experts, config.hidden});
  if (moe.router_bias) names.plain("mlp.gate.e_score_correction_bias", {moe.router.experts});
  if (moe.shared_width > 0) names.mlp("mlp.shared_experts.", moe.shared_width, config.hidden);
  return names.take();
}

std::vector<TensorSpec> expert_tensors(const ModelConfig& config, int layer, int expert) {
  Names names(fmt::format("model.layers.{}.mlp.experts.{}.", layer, expert));
  names.mlp("", config.moe.expert_width, config.hidden);
  return names.take();
}

std::vector<TensorSpec> global_tensors(const ModelConfig& config) {
  Names names("");
  names.plain("model.embed_tokens.weight", {config.vocab, config.hidden});
  names.plain("model.norm.weight", {config.hidden});
  if (!config.tied_embeddings) names.plain("lm_head.weight", {config.vocab, config.hidden});
  return names.take();
}

}  // namespace wingspan
