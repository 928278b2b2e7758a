#include "tokenizer/post_processor.h"

#include <string>

#include "tokenizer/limits.h"

namespace wingspan {
namespace {

constexpr size_t kMaxPieces = 64;

Expected<JsonObject> item_of(const JsonObject& parent, const char* key, size_t index) {
  return JsonObject::from(parent.json().at(key).at(index),
                          parent.where() + ", " + key + "[" + std::to_string(index) + "]");
}

Expected<std::vector<int64_t>> special_ids(const JsonObject& json, const JsonObject& special) {
  WS_ASSIGN(std::string name, special.string("id"));
  WS_ASSIGN(JsonObject tokens, json.object("special_tokens"));
  WS_ASSIGN(JsonObject token, tokens.object(name));
  WS_ASSIGN(auto ids, token.integers("ids", 0, (int64_t{1} << 24) - 1));
  if (ids.empty() || ids.size() > kMaxPieces) return token.bad("ids", "must be 1 to 64 ids");
  return ids;
}

}  // namespace

Expected<PostProcessor> PostProcessor::parse(const JsonObject& parent) {
  PostProcessor p;
  if (!parent.has("post_processor")) return p;
  WS_ASSIGN(JsonObject json, parent.object("post_processor"));
  WS_RETURN_IF_ERROR(p.add(json, 0));
  return p;
}

Status PostProcessor::add(const JsonObject& json, int depth) {
  WS_ASSIGN(std::string type, json.string("type"));
  if (type == "ByteLevel") return {};  // it trims offsets, which are not kept here
  if (type == "TemplateProcessing") return add_template(json);
  if (type != "Sequence") {
    return json.bad("type", "the post-processor \"" + type + "\" is not supported");
  }
  if (depth == kMaxPipelineDepth) return json.bad("type", "sequences are nested too deep");
  if (!json.has("processors") || !json.json().at("processors").is_array()) {
    return json.bad("processors", "must be an array");
  }
  for (size_t i = 0; i < json.json().at("processors").size(); ++i) {
    WS_ASSIGN(JsonObject item, item_of(json, "processors", i));
    WS_RETURN_IF_ERROR(add(item, depth + 1));
  }
  return {};
}

Status PostProcessor::add_template(const JsonObject& json) {
  if (!json.has("single") || !json.json().at("single").is_array()) {
    return json.bad("single", "must be an array");
  }
  const size_t pieces = json.json().at("single").size();
  if (pieces > kMaxPieces) return json.bad("single", "has too many pieces");
  std::vector<int32_t> before, after;
  bool text = false;
  for (size_t i = 0; i < pieces; ++i) {
    WS_ASSIGN(JsonObject item, item_of(json, "single", i));
    if (item.has("Sequence")) {
      WS_ASSIGN(JsonObject sequence, item.object("Sequence"));
      WS_ASSIGN(std::string id, sequence.string("id"));
      if (id != "A" || text) return sequence.bad("id", "a single template holds A once");
      text = true;
      continue;
    }
    WS_ASSIGN(JsonObject special, item.object("SpecialToken"));
    WS_ASSIGN(auto ids, special_ids(json, special));
    auto& side = text ? after : before;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!text) return json.bad("single", "lacks the text");
  // A later template goes around an earlier one.
  before_.insert(before_.begin(), before.begin(), before.end());
  after_.insert(after_.end(), after.begin(), after.end());
  return {};
}

void PostProcessor::apply(std::vector<int32_t>& ids) const {
  ids.insert(ids.begin(), before_.begin(), before_.end());
  ids.insert(ids.end(), after_.begin(), after_.end());
}

}  // namespace wingspan
