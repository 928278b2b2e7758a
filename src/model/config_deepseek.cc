// DeepSeek-V3/R1, Kimi-K2 and DeepSeek-V2: keys and their meaning in docs/models.md.
#include <fmt/format.h>

#include <cmath>

#include "model/config_families.h"

namespace wingspan {
namespace {

constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 4096;
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxExperts = int64_t{1} << 16;

Status must_be(const JsonObject& json, const char* key, const std::string& got,
               const std::string& want) {
  if (got == want) return {};
  return json.bad(key, fmt::format("\"{}\" is not supported here, \"{}\" is", got, want));
}

Status must_be(const JsonObject& json, const char* key, bool want) {
  WS_ASSIGN(bool got, json.boolean_or(key, want));
  if (got == want) return {};
  return json.bad(key, fmt::format("{} is not supported", got));
}

// cos and sin would be multiplied by get_mscale(mscale) / get_mscale(mscale_all_dim); the
// checkpoints of these families have equal ones, and so factor 1.
Status check_mscale(const JsonObject& yarn, double mscale, double all_dim) {
  if (yarn.has("attention_factor")) return yarn.bad("attention_factor", "is not supported");
  if (mscale == all_dim && all_dim > 0) return {};
  return yarn.bad("mscale", fmt::format("{} and mscale_all_dim {}: only equal ones above 0 are "
                                        "supported",
                                        mscale, all_dim));
}

Status read_yarn(const JsonObject& yarn, MlaConfig& c) {
  YarnParams p;
  WS_ASSIGN(p.factor, yarn.number("factor", 1, 1e6));
  WS_ASSIGN(p.original_max_position, yarn.number("original_max_position_embeddings", 1, 1e9));
  WS_ASSIGN(p.beta_fast, yarn.number_or("beta_fast", 1e-3, 1e6, 32));
  WS_ASSIGN(p.beta_slow, yarn.number_or("beta_slow", 1e-3, 1e6, 1));
  WS_ASSIGN(p.truncate, yarn.boolean_or("truncate", true));
  WS_ASSIGN(double mscale, yarn.number_or("mscale", 0, 100, 0));
  WS_ASSIGN(double all_dim, yarn.number_or("mscale_all_dim", 0, 100, 0));
  WS_RETURN_IF_ERROR(check_mscale(yarn, mscale, all_dim));
  const double m = p.factor > 1 ? 0.1 * all_dim * std::log(p.factor) + 1 : 1;
  c.softmax_scale *= m * m;
  c.yarn = p;
  return {};
}

// `rope_scaling` and `rope_theta`, or both in `rope_parameters` as newer files write it.
Status read_rope(const JsonObject& json, MlaConfig& c) {
  WS_RETURN_IF_ERROR(must_be(json, "rope_interleave", true));
  const char* key = json.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  WS_ASSIGN(c.rope_theta, json.number_or("rope_theta", 1, 1e15, 10000));
  if (!json.has(key)) return {};
  WS_ASSIGN(JsonObject rope, json.object(key));
  WS_ASSIGN(c.rope_theta, rope.number_or("rope_theta", 1, 1e15, c.rope_theta));
  const char* type_key = rope.has("rope_type") ? "rope_type" : "type";
  WS_ASSIGN(std::string type, rope.string_or(type_key, "default"));
  if (type == "default") return {};
  WS_RETURN_IF_ERROR(must_be(rope, type_key, type, "yarn"));
  return read_yarn(rope, c);
}

Status read_mla(const JsonObject& json, MlaConfig& c) {
  WS_RETURN_IF_ERROR(must_be(json, "attention_bias", false));
  WS_ASSIGN(c.heads, json.integer("num_attention_heads", 1, kMaxHeads));
  WS_ASSIGN(c.q_lora, json.integer_or("q_lora_rank", 1, kMaxWidth, 0));
  WS_ASSIGN(c.kv_lora, json.integer("kv_lora_rank", 1, kMaxWidth));
  WS_ASSIGN(c.nope, json.integer("qk_nope_head_dim", 1, kMaxHeadDim));
  WS_ASSIGN(c.rope, json.integer("qk_rope_head_dim", 2, kMaxHeadDim));
  WS_ASSIGN(c.v, json.integer("v_head_dim", 1, kMaxHeadDim));
  if (c.rope % 2 != 0) return json.bad("qk_rope_head_dim", fmt::format("{} is odd", c.rope));
  c.softmax_scale = 1 / std::sqrt(static_cast<double>(c.nope + c.rope));
  return read_rope(json, c);
}

// Group-limited sigmoid with a correction bias (V3), or softmax (V2).
Status read_scoring(const JsonObject& json, const std::string& family, MoeConfig& c) {
  RouterSpec& r = c.router;
  const bool v2 = family == "deepseek_v2";
  WS_ASSIGN(std::string scoring, json.string_or("scoring_func", v2 ? "softmax" : "sigmoid"));
  WS_ASSIGN(std::string method, json.string_or("topk_method", v2 ? "greedy" : "noaux_tc"));
  WS_ASSIGN(bool renormalize, json.boolean_or("norm_topk_prob", !v2));
  if (v2) {
    WS_RETURN_IF_ERROR(must_be(json, "scoring_func", scoring, "softmax"));
    if (renormalize) return json.bad("norm_topk_prob", "true is not supported in this family");
    r.scoring = Scoring::kSoftmax;
    r.weights = RouterWeights::kScore;
    if (method == "greedy") {
      r.groups = r.top_groups = 1;
      r.group_score = GroupScore::kNone;
      return {};
    }
    r.group_score = GroupScore::kMax;
    return must_be(json, "topk_method", method, "group_limited_greedy");
  }
  WS_RETURN_IF_ERROR(must_be(json, "scoring_func", scoring, "sigmoid"));
  WS_RETURN_IF_ERROR(must_be(json, "topk_method", method, "noaux_tc"));
  r.scoring = Scoring::kSigmoid;
  r.weights = renormalize ? RouterWeights::kRenormalized : RouterWeights::kScore;
  r.epsilon = 1e-20F;
  r.group_score = GroupScore::kTop2Sum;
  c.router_bias = true;
  return {};
}

Status read_moe(const JsonObject& json, const std::string& family, MoeConfig& c) {
  WS_ASSIGN(int64_t experts, json.integer("n_routed_experts", 1, kMaxExperts));
  WS_ASSIGN(int64_t top_k, json.integer("num_experts_per_tok", 1, experts));
  WS_ASSIGN(int64_t groups, json.integer_or("n_group", 1, experts, 1));
  WS_ASSIGN(int64_t top_groups, json.integer_or("topk_group", 1, groups, groups));
  WS_ASSIGN(double scale, json.number_or("routed_scaling_factor", 1e-6, 1e6, 1));
  c.router.experts = static_cast<int>(experts);
  c.router.top_k = static_cast<int>(top_k);
  c.router.groups = static_cast<int>(groups);
  c.router.top_groups = static_cast<int>(top_groups);
  c.router.scale = static_cast<float>(scale);
  WS_RETURN_IF_ERROR(read_scoring(json, family, c));
  if (const Status valid = c.router.validate(); !valid) {
    return json.bad("n_routed_experts", valid.error().what);
  }
  WS_ASSIGN(c.expert_width, json.integer("moe_intermediate_size", 1, kMaxWidth));
  WS_ASSIGN(int64_t shared, json.integer_or("n_shared_experts", 0, 256, 0));
  c.shared_width = shared * c.expert_width;
  return {};
}

}  // namespace

Status read_deepseek(const JsonObject& json, ModelConfig& config) {
  config.attention = AttentionKind::kMla;
  WS_RETURN_IF_ERROR(read_mla(json, config.mla));
  WS_RETURN_IF_ERROR(must_be(json, "mlp_bias", false));
  WS_ASSIGN(int64_t dense, json.integer_or("first_k_dense_replace", 0, config.layers, 0));
  WS_ASSIGN(int64_t frequency, json.integer_or("moe_layer_freq", 1, config.layers, 1));
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const bool moe = layer >= dense && layer % frequency == 0;
    config.mlp.push_back(moe ? MlpKind::kMoe : MlpKind::kDense);
  }
  WS_ASSIGN(config.dense_width, json.integer("intermediate_size", 1, kMaxWidth));
  WS_RETURN_IF_ERROR(read_moe(json, config.family, config.moe));
  WS_ASSIGN(config.mtp_layers, json.integer_or("num_nextn_predict_layers", 0, 64, 0));
  return {};
}

}  // namespace wingspan
