#include "model/config.h"
#include "base/json.h"
#include <fmt/format.h>
#include <cmath>
namespace wingspan {
std::vector<int> ModelConfig::moe_layers() const { std::vector<int> v; for (size_t i = 0; i < mlp.size(); ++i) if (mlp[i] == MlpKind::kMoe) v.push_back(int(i)); return v; }
Expected<ModelConfig> parse_model_config(std::string_view text, const std::string& where) {
  WS_ASSIGN(Json j, parse_json(text, where));
  WS_ASSIGN(JsonObject o, JsonObject::from(j, where));
  ModelConfig c; const int64_t big = 1 << 24;
  WS_ASSIGN(c.family, o.string("model_type"));
  WS_ASSIGN(c.vocab, o.integer("vocab_size", 1, big)); WS_ASSIGN(c.hidden, o.integer("hidden_size", 1, big)); WS_ASSIGN(c.layers, o.integer("num_hidden_layers", 1, 1000));
  WS_ASSIGN(c.max_positions, o.integer("max_position_embeddings", 1, big)); WS_ASSIGN(c.rms_eps, o.number("rms_norm_eps", 0, 1));
  WS_ASSIGN(c.mla.heads, o.integer("num_attention_heads", 1, big)); WS_ASSIGN(c.mla.q_lora, o.integer_or("q_lora_rank", 1, big, 0)); WS_ASSIGN(c.mla.kv_lora, o.integer("kv_lora_rank", 1, big));
  WS_ASSIGN(c.mla.nope, o.integer("qk_nope_head_dim", 1, big)); WS_ASSIGN(c.mla.rope, o.integer("qk_rope_head_dim", 2, big)); WS_ASSIGN(c.mla.v, o.integer("v_head_dim", 1, big));
  WS_ASSIGN(c.mla.rope_theta, o.number("rope_theta", 1, 1e12)); WS_ASSIGN(c.dense_width, o.integer("intermediate_size", 1, big));
  double scale = 1 / std::sqrt(double(c.mla.nope + c.mla.rope));
  if (o.has("rope_scaling")) { WS_ASSIGN(JsonObject y, o.object("rope_scaling")); YarnParams p; WS_ASSIGN(p.factor, y.number("factor", 1, 1e9)); WS_ASSIGN(p.original_max_position, y.number("original_max_position_embeddings", 1, 1e9)); WS_ASSIGN(p.beta_fast, y.number("beta_fast", 0, 1e9)); WS_ASSIGN(p.beta_slow, y.number("beta_slow", 0, 1e9)); WS_ASSIGN(double all, y.number_or("mscale_all_dim", 0, 100, 0)); c.mla.yarn = p; if (all != 0) { double m = 0.1 * all * std::log(p.factor) + 1; scale *= m * m; } }
  c.mla.softmax_scale = scale;
  auto& r = c.moe.router; WS_ASSIGN(int64_t e, o.integer("n_routed_experts", 1, 65536)); r.experts = int(e); WS_ASSIGN(int64_t k, o.integer("num_experts_per_tok", 1, 65536)); r.top_k = int(k);
  WS_ASSIGN(int64_t g, o.integer_or("n_group", 1, 65536, 1)); r.groups = int(g); WS_ASSIGN(int64_t tg, o.integer_or("topk_group", 1, 65536, 1)); r.top_groups = int(tg);
  WS_ASSIGN(double rs, o.number("routed_scaling_factor", 0, 1e6)); r.scale = float(rs);
  if (c.family == "deepseek_v2") { r.scoring = Scoring::kSoftmax; WS_ASSIGN(auto t, o.string("topk_method")); r.group_score = t == "greedy" ? GroupScore::kNone : GroupScore::kMax; }
  else { r.scoring = Scoring::kSigmoid; r.weights = RouterWeights::kRenormalized; r.epsilon = 1e-20F; r.group_score = GroupScore::kTop2Sum; c.moe.router_bias = true; }
  WS_ASSIGN(c.moe.expert_width, o.integer("moe_intermediate_size", 1, big)); WS_ASSIGN(int64_t sh, o.integer_or("n_shared_experts", 0, 1000, 0)); c.moe.shared_width = sh * c.moe.expert_width;
  WS_ASSIGN(int64_t first, o.integer("first_k_dense_replace", 0, 1000)); for (int64_t i = 0; i < c.layers; ++i) c.mlp.push_back(i < first ? MlpKind::kDense : MlpKind::kMoe);
  c.fp8_blocks = o.has("quantization_config"); WS_RETURN_IF_ERROR(r.validate());
  return c; }
Expected<ModelConfig> read_model_config(const Files& f, const std::string& d) { WS_ASSIGN(auto t, f.read_text(d + "/config.json", 1 << 20)); return parse_model_config(t, d + "/config.json"); }
std::vector<TensorSpec> global_tensors(const ModelConfig& c) { std::vector<TensorSpec> v{{"model.embed_tokens.weight", {c.vocab, c.hidden}}, {"model.norm.weight", {c.hidden}}}; if (!c.tied_embeddings) v.push_back({"lm_head.weight", {c.vocab, c.hidden}}); return v; }
std::vector<TensorSpec> expert_tensors(const ModelConfig& c, int l, int e) { auto p = fmt::format("model.layers.{}.mlp.experts.{}.", l, e); int64_t w = c.moe.expert_width; return {{p + "gate_proj.weight", {w, c.hidden}, true}, {p + "up_proj.weight", {w, c.hidden}, true}, {p + "down_proj.weight", {c.hidden, w}, true}}; }
std::vector<TensorSpec> layer_tensors(const ModelConfig& c, int l) { auto p = fmt::format("model.layers.{}.", l); const auto& m = c.mla; std::vector<TensorSpec> v{{p + "input_layernorm.weight", {c.hidden}}, {p + "post_attention_layernorm.weight", {c.hidden}}};
  if (m.q_lora) { v.push_back({p + "self_attn.q_a_proj.weight", {m.q_lora, c.hidden}, true}); v.push_back({p + "self_attn.q_a_layernorm.weight", {m.q_lora}}); v.push_back({p + "self_attn.q_b_proj.weight", {m.heads * (m.nope + m.rope), m.q_lora}, true}); } else v.push_back({p + "self_attn.q_proj.weight", {m.heads * (m.nope + m.rope), c.hidden}, true});
  v.push_back({p + "self_attn.kv_a_proj_with_mqa.weight", {m.kv_lora + m.rope, c.hidden}, true}); v.push_back({p + "self_attn.kv_a_layernorm.weight", {m.kv_lora}}); v.push_back({p + "self_attn.kv_b_proj.weight", {m.heads * (m.nope + m.v), m.kv_lora}, true}); v.push_back({p + "self_attn.o_proj.weight", {c.hidden, m.heads * m.v}, true});
  auto mlp = [&](std::string q, int64_t w) { v.push_back({p + q + "gate_proj.weight", {w, c.hidden}, true}); v.push_back({p + q + "up_proj.weight", {w, c.hidden}, true}); v.push_back({p + q + "down_proj.weight", {c.hidden, w}, true}); };
  if (c.mlp[l] == MlpKind::kDense) mlp("mlp.", c.dense_width); else { v.push_back({p + "mlp.gate.weight", {c.moe.router.experts, c.hidden}}); if (c.moe.router_bias) v.push_back({p + "mlp.gate.e_score_correction_bias", {c.moe.router.experts}}); if (c.moe.shared_width) mlp("mlp.shared_experts.", c.moe.shared_width); }
  return v; }
}
