#include "tokenizer/text_model.h"

#include <algorithm>

#include "base/json.h"

namespace wingspan {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;

// The longest end of `text` that begins `stop`, short of all of it.
size_t overlap(const std::string& text, const std::string& stop) {
  for (size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.compare(text.size() - n, n, stop, 0, n) == 0) return n;
  }
  return 0;
}

}  // namespace

Expected<TextModel> TextModel::load(const Files& files, const std::string& directory) {
  TextModel model;
  model.directory_ = directory;
  const std::string path = directory + "/tokenizer.json";
  if (!files.exists(path)) return model;
  WS_ASSIGN(Tokenizer tokenizer, Tokenizer::load(files, path));
  model.tokenizer_ = std::make_shared<const Tokenizer>(std::move(tokenizer));
  const std::string config = directory + "/tokenizer_config.json";
  if (files.exists(config)) WS_RETURN_IF_ERROR(model.read_bos(files, config));
  return model;
}

Status TextModel::read_bos(const Files& files, const std::string& path) {
  WS_ASSIGN(std::string text, files.read_text(path, kMaxConfigBytes));
  WS_ASSIGN(Json json, parse_json(text, path, {.max_bytes = kMaxConfigBytes}));
  WS_ASSIGN(JsonObject object, JsonObject::from(json, path));
  WS_ASSIGN(bool add, object.boolean_or("add_bos_token", false));
  if (!add) return {};
  std::string token;
  if (object.has("bos_token") && json.at("bos_token").is_object()) {
    WS_ASSIGN(JsonObject bos, object.object("bos_token"));
    WS_ASSIGN(token, bos.string("content"));
  } else {
    WS_ASSIGN(token, object.string("bos_token"));
  }
  bos_ = tokenizer_->token_to_id(token);
  if (bos_) return {};
  return object.bad("bos_token", "\"" + token + "\" is not in tokenizer.json");
}

Expected<std::vector<int32_t>> TextModel::encode(std::string_view text,
                                                 const std::string& where) const {
  if (!has_tokenizer()) {
    return invalid_input("the model has no tokenizer.json", directory_,
                         "give token ids instead of text");
  }
  if (text.empty()) return invalid_input("the prompt is empty", where, "give some text");
  auto ids = tokenizer_->encode(text, true);
  if (!ids) return invalid_input(ids.error().what, where, ids.error().fix);
  if (bos_ && (ids->empty() || ids->front() != *bos_)) ids->insert(ids->begin(), *bos_);
  return ids;
}

OutputText::OutputText(const Tokenizer& tokenizer, const std::vector<std::string>& stops,
                       bool keep_stop, bool skip_special)
    : decoder_(tokenizer, skip_special), stops_(&stops), keep_stop_(keep_stop) {}

std::string OutputText::take_certain(bool last) {
  size_t stop_at = std::string::npos;
  for (const std::string& stop : *stops_) {
    const size_t at = pending_.find(stop);
    if (at >= stop_at) continue;
    stop_at = at;
    stop_ = stop;
  }
  size_t certain = pending_.size();
  if (stop_at != std::string::npos) {
    certain = stop_at + (keep_stop_ ? stop_.size() : 0);
    stopped_ = true;
  } else if (!last) {
    size_t held = 0;
    for (const std::string& stop : *stops_) held = std::max(held, overlap(pending_, stop));
    certain -= held;
  }
  std::string shown = pending_.substr(0, certain);
  pending_.erase(0, certain);
  text_ += shown;
  return shown;
}

Expected<std::string> OutputText::push(int32_t token) {
  if (stopped_) return std::string();
  WS_ASSIGN(std::string delta, decoder_.push(token));
  pending_ += delta;
  return take_certain(false);
}

Expected<std::string> OutputText::finish() {
  if (stopped_) return std::string();
  pending_ += decoder_.finish();
  return take_certain(true);
}

}  // namespace wingspan
