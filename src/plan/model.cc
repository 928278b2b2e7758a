#include "plan/model.h"

#include <algorithm>
#include <cmath>

namespace wingspan {
namespace {

constexpr double kMost = 1e7;  // of any dimension

// "sliding-128" and "chunked-local 8192 ... every 4th" of the attention column.
void read_window(const std::string& attention, PlanModel& m) {
  for (const auto& [word, share] :
       {std::pair<std::string, double>{"sliding-", 0.5}, {"chunked-local ", 0.75}}) {
    const size_t at = attention.find(word);
    if (at == std::string::npos) continue;
    double value = 0;
    for (size_t i = at + word.size(); i < attention.size() && value < kMost; ++i) {
      if (attention[i] < '0' || attention[i] > '9') break;
      value = 10 * value + (attention[i] - '0');
    }
    if (value > 0) {
      m.window = value;
      m.windowed_share = share;
    }
  }
}

Status check(const PlanModel& m, const std::string& where) {
  const bool whole = m.layers >= 1 && m.hidden >= 1 && m.vocab >= 1 && m.heads >= 1;
  if (!whole) return invalid_input("layers, hidden size, heads and vocabulary must be >= 1", where);
  if (m.dense_layers > m.layers) return invalid_input("more dense layers than layers", where);
  if (m.moe_layers() > 0 && (m.experts < 1 || m.expert_width < 1)) {
    return invalid_input("layers with experts, but no experts", where);
  }
  if (m.experts > 0 && (m.top_k < 1 || m.top_k > m.experts)) {
    return invalid_input("top-k must lie between 1 and the experts", where);
  }
  if (m.dense_layers > 0 && m.dense_width < 1) {
    return invalid_input("dense layers without a width", where);
  }
  if (m.mla ? m.kv_lora < 1 || m.v_dim < 1 : m.kv_heads < 1 || m.head_dim < 1) {
    return invalid_input("the attention's widths are missing", where);
  }
  return {};
}

// The value of the first key that is there and not null.
Expected<double> any_of(const JsonObject& o, const std::vector<std::string>& keys, double low,
                        double fallback) {
  for (const std::string& key : keys) {
    if (!o.has(key)) continue;
    WS_ASSIGN(const int64_t value, o.integer(key, static_cast<int64_t>(low), 10'000'000));
    return static_cast<double>(value);
  }
  if (fallback < 0) return invalid_input("\"" + keys.front() + "\" is missing", o.where());
  return fallback;
}

Status read_attention(const JsonObject& o, PlanModel& m) {
  WS_ASSIGN(m.heads, any_of(o, {"num_attention_heads"}, 1, -1));
  if (o.has("kv_lora_rank")) {
    m.mla = true;
    WS_ASSIGN(m.kv_lora, any_of(o, {"kv_lora_rank"}, 1, -1));
    WS_ASSIGN(m.q_lora, any_of(o, {"q_lora_rank"}, 0, 0));
    WS_ASSIGN(m.nope, any_of(o, {"qk_nope_head_dim"}, 0, -1));
    WS_ASSIGN(m.rope, any_of(o, {"qk_rope_head_dim"}, 0, -1));
    WS_ASSIGN(m.v_dim, any_of(o, {"v_head_dim"}, 1, -1));
    m.kv_heads = m.heads;
    return {};
  }
  WS_ASSIGN(m.kv_heads, any_of(o, {"num_key_value_heads"}, 1, m.heads));
  WS_ASSIGN(m.head_dim, any_of(o, {"head_dim"}, 1, std::floor(m.hidden / m.heads)));
  return {};
}

// How many layers see a window: layer_types, no_rope_layers (1: chunked), or sliding_window alone.
Status read_windows(const JsonObject& o, const std::string& type, PlanModel& m) {
  const Json& json = o.json();
  double windowed = 0;
  std::string key = "sliding_window";
  if (type.rfind("llama4", 0) == 0) {
    key = "attention_chunk_size";
    windowed = std::floor(m.layers * 0.75);
    if (json.contains("no_rope_layers") && json["no_rope_layers"].is_array() &&
        !json["no_rope_layers"].empty()) {
      WS_ASSIGN(const auto flags, o.integers("no_rope_layers", 0, 1));
      windowed = static_cast<double>(std::count(flags.begin(), flags.end(), 1));
    }
  } else if (json.contains("layer_types") && json["layer_types"].is_array()) {
    for (const Json& kind : json["layer_types"]) {
      if (kind.is_string() && kind.get<std::string>() != "full_attention") ++windowed;
    }
  } else if (type == "gpt_oss") {
    windowed = std::floor(m.layers / 2);
  } else if (!o.has("use_sliding_window") || json["use_sliding_window"] == true) {
    windowed = m.layers;
  }
  if (!o.has(key) || windowed <= 0) return {};
  WS_ASSIGN(m.window, any_of(o, {key}, 1, -1));
  m.windowed_share = std::min(1.0, windowed / m.layers);
  return {};
}

Status read_experts(const JsonObject& o, const std::string& type, PlanModel& m) {
  WS_ASSIGN(m.experts, any_of(o, {"n_routed_experts", "num_local_experts", "num_experts"}, 0, 0));
  WS_ASSIGN(const double width, any_of(o, {"intermediate_size"}, 1, -1));
  m.dense_width = width;
  if (m.experts < 1) {
    m.experts = 0;
    m.dense_layers = m.layers;
    return {};
  }
  WS_ASSIGN(m.top_k, any_of(o, {"num_experts_per_tok", "experts_per_token"}, 1, -1));
  WS_ASSIGN(m.expert_width, any_of(o, {"moe_intermediate_size"}, 1, width));
  WS_ASSIGN(const double shared, any_of(o, {"n_shared_experts"}, 0, 0));
  m.shared_width = shared * m.expert_width;
  WS_ASSIGN(m.dense_layers, any_of(o, {"first_k_dense_replace"}, 0, 0));
  if (type.rfind("llama4", 0) == 0) {
    m.shared_width = width;
    WS_ASSIGN(m.dense_width, any_of(o, {"intermediate_size_mlp"}, 1, width));
    WS_ASSIGN(const double every, any_of(o, {"interleave_moe_layer_step"}, 1, 1));
    m.dense_layers = m.layers - std::floor(m.layers / every);
    if (o.json().contains("moe_layers") && o.json()["moe_layers"].is_array()) {
      m.dense_layers = m.layers - static_cast<double>(o.json()["moe_layers"].size());
    }
  }
  if (type == "qwen3_moe") {
    WS_ASSIGN(const double every, any_of(o, {"decoder_sparse_step"}, 1, 1));
    double dense = 0;
    std::vector<int64_t> only;
    if (o.has("mlp_only_layers")) {
      WS_ASSIGN(only, o.integers("mlp_only_layers", 0, 10'000'000));
    }
    for (double l = 0; l < m.layers && l < 1e5; ++l) {
      const bool listed =
          std::find(only.begin(), only.end(), static_cast<int64_t>(l)) != only.end();
      if (listed || std::fmod(l + 1, every) != 0) ++dense;
    }
    m.dense_layers = dense;
  }
  return {};
}

}  // namespace

double PlanModel::attention_params() const {
  if (!mla) return hidden * heads * head_dim * 2 + 2 * hidden * kv_heads * head_dim;
  const double q = q_lora > 0 ? hidden * q_lora + q_lora * heads * (nope + rope)
                              : hidden * heads * (nope + rope);
  return q + hidden * (kv_lora + rope) + heads * kv_lora * (nope + v_dim) + heads * v_dim * hidden;
}

double PlanModel::decode_core_flops() const {
  return mla ? 2 * heads * (2 * kv_lora + rope) : 4 * heads * head_dim;
}

double PlanModel::prefill_core_flops() const {
  return mla ? 2 * heads * (nope + rope + v_dim) : 4 * heads * head_dim;
}

Expected<PlanModel> model_of_row(const TableRow& row) {
  PlanModel m;
  m.name = row.text("model");
  m.mla = row.text("attention").rfind("MLA", 0) == 0;
  const std::pair<const char*, double PlanModel::*> columns[] = {
      {"layers", &PlanModel::layers},
      {"dense_layers", &PlanModel::dense_layers},
      {"hidden", &PlanModel::hidden},
      {"dense_intermediate", &PlanModel::dense_width},
      {"routed_experts", &PlanModel::experts},
      {"top_k", &PlanModel::top_k},
      {"moe_intermediate", &PlanModel::expert_width},
      {"shared_intermediate", &PlanModel::shared_width},
      {"q_heads", &PlanModel::heads},
      {"kv_heads", &PlanModel::kv_heads},
      {"vocab", &PlanModel::vocab}};
  for (const auto& [column, member] : columns) {
    WS_ASSIGN(m.*member, row.number(column, 0, kMost));
  }
  const std::pair<const char*, double PlanModel::*> optional[] = {
      {"head_dim", &PlanModel::head_dim},    {"q_lora_rank", &PlanModel::q_lora},
      {"kv_lora_rank", &PlanModel::kv_lora}, {"qk_nope", &PlanModel::nope},
      {"qk_rope", &PlanModel::rope},         {"v_head_dim", &PlanModel::v_dim},
      {"mtp_layers", &PlanModel::mtp_layers}};
  for (const auto& [column, member] : optional) {
    WS_ASSIGN(m.*member, row.number_or(column, 0, kMost, 0));
  }
  read_window(row.text("attention"), m);
  WS_RETURN_IF_ERROR(check(m, row.where));
  return m;
}

Expected<PlanModel> model_of_config(const Json& config, const std::string& where) {
  WS_ASSIGN(JsonObject o, JsonObject::from(config, where));
  // Multimodal wrappers (Llama 4, Kimi) keep the language model one level down.
  if (!o.has("hidden_size") && o.has("text_config")) {
    WS_ASSIGN(o, o.object("text_config"));
  }
  PlanModel m;
  WS_ASSIGN(const std::string type, o.string_or("model_type", ""));
  m.name = type.empty() ? where : type + " (" + where + ")";
  WS_ASSIGN(m.layers, any_of(o, {"num_hidden_layers"}, 1, -1));
  WS_ASSIGN(m.hidden, any_of(o, {"hidden_size"}, 1, -1));
  WS_ASSIGN(m.vocab, any_of(o, {"vocab_size"}, 1, -1));
  WS_ASSIGN(m.mtp_layers, any_of(o, {"num_nextn_predict_layers"}, 0, 0));
  WS_RETURN_IF_ERROR(read_attention(o, m));
  WS_RETURN_IF_ERROR(read_experts(o, type, m));
  WS_RETURN_IF_ERROR(read_windows(o, type, m));
  WS_RETURN_IF_ERROR(check(m, where));
  return m;
}

}  // namespace wingspan
