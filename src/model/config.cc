#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "model/config_families.h"

namespace wingspan {
namespace {

constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxHidden = int64_t{1} << 18;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxPositions = int64_t{1} << 26;
constexpr double kMaxParameters = 1e14;  // some hundred times the largest model there is
constexpr uint64_t kMaxFileBytes = uint64_t{16} << 20;

struct Family {
  const char* model_type;
  Status (*read)(const JsonObject&, ModelConfig&);
};
constexpr Family kFamilies[] = {
    {"deepseek_v3", read_deepseek}, {"kimi_k2", read_deepseek}, {"deepseek_v2", read_deepseek}};

std::string family_names() {
  std::string out;
  for (const Family& f : kFamilies) out += (out.empty() ? "" : ", ") + std::string(f.model_type);
  return out;
}

// One id or a list of ids; absent or null: none.
Status read_ids(const JsonObject& json, const char* key, int64_t vocab, std::vector<int32_t>& out) {
  if (!json.has(key)) return {};
  std::vector<int64_t> ids;
  if (json.json().at(key).is_array()) {
    WS_ASSIGN(ids, json.integers(key, 0, vocab - 1));
  } else {
    WS_ASSIGN(int64_t id, json.integer(key, 0, vocab - 1));
    ids.push_back(id);
  }
  for (const int64_t id : ids) {
    const auto token = static_cast<int32_t>(id);
    if (std::find(out.begin(), out.end(), token) == out.end()) out.push_back(token);
  }
  return {};
}

Status read_quantization(const JsonObject& json, ModelConfig& config) {
  if (!json.has("quantization_config")) return {};
  WS_ASSIGN(JsonObject q, json.object("quantization_config"));
  WS_ASSIGN(std::string method, q.string("quant_method"));
  WS_ASSIGN(std::string format, q.string_or("fmt", "e4m3"));
  WS_ASSIGN(std::string scheme, q.string_or("activation_scheme", "dynamic"));
  WS_ASSIGN(std::string scale, q.string_or("scale_fmt", "float32"));
  if (method != "fp8") return q.bad("quant_method", "\"" + method + "\" is not supported, fp8 is");
  if (format != "e4m3") return q.bad("fmt", "\"" + format + "\" is not supported, e4m3 is");
  if (scheme != "dynamic") {
    return q.bad("activation_scheme", "\"" + scheme + "\" is not supported, dynamic is");
  }
  if (scale != "float32") return q.bad("scale_fmt", "\"" + scale + "\" is not supported");
  WS_ASSIGN(auto block, q.integers("weight_block_size", 1, int64_t{1} << 20));
  if (block != std::vector<int64_t>{128, 128}) {
    return q.bad("weight_block_size", "only blocks of [128, 128] are supported");
  }
  config.fp8_blocks = true;
  return {};
}

Status read_common(const JsonObject& json, ModelConfig& c) {
  WS_ASSIGN(c.vocab, json.integer("vocab_size", 1, kMaxVocab));
  WS_ASSIGN(c.hidden, json.integer("hidden_size", 1, kMaxHidden));
  WS_ASSIGN(c.layers, json.integer("num_hidden_layers", 1, kMaxLayers));
  WS_ASSIGN(c.max_positions, json.integer("max_position_embeddings", 1, kMaxPositions));
  WS_ASSIGN(c.rms_eps, json.number_or("rms_norm_eps", 0, 1, 1e-6));
  WS_ASSIGN(c.tied_embeddings, json.boolean_or("tie_word_embeddings", false));
  WS_ASSIGN(std::string act, json.string_or("hidden_act", "silu"));
  if (act != "silu") return json.bad("hidden_act", "\"" + act + "\" is not supported, silu is");
  WS_RETURN_IF_ERROR(read_ids(json, "eos_token_id", c.vocab, c.eos));
  std::vector<int32_t> bos;
  WS_RETURN_IF_ERROR(read_ids(json, "bos_token_id", c.vocab, bos));
  if (!bos.empty()) c.bos = bos.front();
  return read_quantization(json, c);
}

// In double, as the product of what each key alone allows is beyond int64.
Status check_size(const JsonObject& json, const ModelConfig& c) {
  double weights = 2.0 * static_cast<double>(c.vocab) * static_cast<double>(c.hidden);
  const auto add = [&](const std::vector<TensorSpec>& specs, double times) {
    for (const TensorSpec& spec : specs) {
      double size = times;
      for (const int64_t dim : spec.shape) size *= static_cast<double>(dim);
      weights += size;
    }
  };
  for (int layer = 0; layer < c.layers; ++layer) {
    add(layer_tensors(c, layer), 1);
    if (c.mlp[static_cast<size_t>(layer)] == MlpKind::kMoe) {
      add(expert_tensors(c, layer, 0), static_cast<double>(c.moe.router.experts));
    }
  }
  if (weights <= kMaxParameters) return {};
  return json.bad("hidden_size", fmt::format("the dimensions make {:.1e} weights, more than {:.0e}",
                                             weights, kMaxParameters));
}

std::string base_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

std::vector<int> ModelConfig::moe_layers() const {
  std::vector<int> out;
  for (size_t i = 0; i < mlp.size(); ++i) {
    if (mlp[i] == MlpKind::kMoe) out.push_back(static_cast<int>(i));
  }
  return out;
}

Expected<ModelConfig> parse_model_config(std::string_view text, const std::string& where) {
  WS_ASSIGN(Json json, parse_json(text, where, {.max_bytes = kMaxFileBytes}));
  WS_ASSIGN(JsonObject object, JsonObject::from(json, where));
  ModelConfig config;
  WS_ASSIGN(config.family, object.string("model_type"));
  const auto* family = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                    [&](const Family& f) { return config.family == f.model_type; });
  if (family == std::end(kFamilies)) {
    return object.bad("model_type", fmt::format("\"{}\" is not a family that is supported ({})",
                                                config.family, family_names()));
  }
  WS_RETURN_IF_ERROR(read_common(object, config));
  WS_RETURN_IF_ERROR(family->read(object, config));
  WS_RETURN_IF_ERROR(check_size(object, config));
  return config;
}

Expected<ModelConfig> read_model_config(const Files& files, const std::string& path) {
  const bool directory = files.is_directory(path);
  const std::string file = directory ? path + "/config.json" : path;
  if (!files.exists(file)) {
    return invalid_input(directory ? "no config.json there" : "no such file or directory", path,
                         "give a Hugging Face model directory");
  }
  WS_ASSIGN(std::string text, files.read_text(file, kMaxFileBytes));
  WS_ASSIGN(ModelConfig config, parse_model_config(text, file));
  const size_t slash = file.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : file.substr(0, slash);
  config.name = base_name(folder);
  const std::string generation = folder + "/generation_config.json";
  if (files.exists(generation)) {
    WS_ASSIGN(std::string more, files.read_text(generation, kMaxFileBytes));
    WS_ASSIGN(Json json, parse_json(more, generation, {.max_bytes = kMaxFileBytes}));
    WS_ASSIGN(JsonObject object, JsonObject::from(json, generation));
    WS_RETURN_IF_ERROR(read_ids(object, "eos_token_id", config.vocab, config.eos));
  }
  return config;
}

}  // namespace wingspan
