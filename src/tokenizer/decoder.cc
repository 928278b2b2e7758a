#include "tokenizer/decoder.h"

#include <algorithm>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/limits.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/utf8.h"

namespace wingspan {
namespace {

// "<0x41>" -> 0x41, else −1.
int byte_of(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

class DecoderParser {
 public:
  Status add(const JsonObject& json, int depth) {
    WS_ASSIGN(std::string type, json.string("type"));
    if (type == "Sequence") return add_sequence(json, depth);
    DecodeStep step;
    step.fused = fused_;
    if (type == "ByteLevel") {
      step.kind = DecodeKind::kByteLevel;
    } else if (type == "ByteFallback") {
      step.kind = DecodeKind::kByteFallback;
    } else if (type == "Fuse") {
      step.kind = DecodeKind::kFuse;
    } else if (type == "Replace") {
      step.kind = DecodeKind::kReplace;
      WS_ASSIGN(step.pattern, parse_pattern(json));
      WS_ASSIGN(step.content, json.string("content"));
    } else if (type == "Strip") {
      step.kind = DecodeKind::kStrip;
      WS_ASSIGN(step.content, one_character(json, "content"));
      WS_ASSIGN(step.start, json.integer("start", 0, 1 << 20));
      WS_ASSIGN(step.stop, json.integer("stop", 0, 1 << 20));
    } else if (type == "Metaspace") {
      step.kind = DecodeKind::kMetaspace;
      WS_RETURN_IF_ERROR(read_metaspace(json, step));
    } else {
      return json.bad("type", "the decoder \"" + type + "\" is not supported");
    }
    const bool any_piece = step.kind == DecodeKind::kStrip || step.kind == DecodeKind::kFuse;
    if (fused_ && !any_piece) return json.bad("type", type + " after Fuse is not supported");
    fused_ |= step.kind == DecodeKind::kFuse || step.kind == DecodeKind::kByteLevel;
    steps.push_back(std::move(step));
    return {};
  }

  std::vector<DecodeStep> steps;

 private:
  Status add_sequence(const JsonObject& json, int depth) {
    if (depth == kMaxPipelineDepth) return json.bad("type", "sequences are nested too deep");
    if (!json.has("decoders") || !json.json().at("decoders").is_array()) {
      return json.bad("decoders", "must be an array");
    }
    for (const Json& item : json.json().at("decoders")) {
      WS_ASSIGN(JsonObject step, JsonObject::from(item, json.where() + ", decoders"));
      WS_RETURN_IF_ERROR(add(step, depth + 1));
    }
    return {};
  }

  static Expected<std::string> one_character(const JsonObject& json, const char* key) {
    WS_ASSIGN(std::string text, json.string(key));
    if (text.empty() || text.size() != utf8::length_at(text, 0)) {
      return json.bad(key, "must be one character");
    }
    return text;
  }

  static Status read_metaspace(const JsonObject& json, DecodeStep& step) {
    WS_ASSIGN(step.content, one_character(json, "replacement"));
    WS_ASSIGN(bool prefix, json.boolean_or("add_prefix_space", true));
    WS_ASSIGN(std::string scheme, json.string_or("prepend_scheme", prefix ? "always" : "never"));
    step.drop_first = scheme != "never";
    return {};
  }

  bool fused_ = false;
};

}  // namespace

Expected<std::vector<DecodeStep>> parse_decoder(const JsonObject& parent) {
  DecoderParser parser;
  if (!parent.has("decoder")) return std::vector<DecodeStep>{DecodeStep{}};
  WS_ASSIGN(JsonObject json, parent.object("decoder"));
  WS_RETURN_IF_ERROR(parser.add(json, 0));
  return std::move(parser.steps);
}

DecodePipe::DecodePipe(const std::vector<DecodeStep>& steps)
    : steps_(steps), states_(steps.size()) {}

std::string DecodePipe::push(const std::string& token) {
  std::string out;
  run(0, token, out);
  return out;
}

std::string DecodePipe::finish() {
  std::string out;
  for (size_t step = 0; step < steps_.size(); ++step) flush(step, out);
  return out;
}

void DecodePipe::run(size_t step, std::string token, std::string& out) {
  if (step == steps_.size()) {
    out += token;
    return;
  }
  const DecodeStep& s = steps_[step];
  switch (s.kind) {
    case DecodeKind::kJoin:
      run(step + 1, (states_[step].seen++ > 0 ? " " : "") + token, out);
      break;
    case DecodeKind::kFuse:
      run(step + 1, std::move(token), out);
      break;
    case DecodeKind::kReplace:
      run(step + 1, replace_all(token, *s.pattern, s.content, scratch_), out);
      break;
    case DecodeKind::kByteLevel:
      byte_level(step, token, out);
      break;
    case DecodeKind::kByteFallback:
      byte_fallback(step, token, out);
      break;
    case DecodeKind::kStrip:
      strip(step, std::move(token), out);
      break;
    case DecodeKind::kMetaspace:
      run(step + 1, metaspace(step, token), out);
      break;
  }
}

// What a step still holds goes through the steps behind it.
void DecodePipe::flush(size_t step, std::string& out) {
  State& state = states_[step];
  switch (steps_[step].kind) {
    case DecodeKind::kByteLevel:
      // An unfinished code point is one invalid part.
      if (!state.held.empty()) run(step + 1, std::string(utf8::kReplacement), out);
      state.held.clear();
      break;
    case DecodeKind::kByteFallback:
      end_byte_run(step, out);
      break;
    case DecodeKind::kStrip: {
      const size_t width = steps_[step].content.size();
      const size_t dropped = width * static_cast<size_t>(steps_[step].stop);
      if (state.held.size() > dropped) {
        run(step + 1, state.held.substr(0, state.held.size() - dropped), out);
      }
      state.held.clear();
      break;
    }
    default:
      break;
  }
}

void DecodePipe::byte_level(size_t step, const std::string& token, std::string& out) {
  std::string& held = states_[step].held;
  const auto bytes = bytes_of_alphabet(token);
  held += bytes ? *bytes : token;
  std::string text;
  size_t at = 0;
  while (at < held.size()) {
    const utf8::Step s = utf8::step(held, at);
    if (s.incomplete) break;
    text += s.valid ? std::string_view(held).substr(at, s.bytes) : utf8::kReplacement;
    at += s.bytes;
  }
  held.erase(0, at);
  if (!text.empty()) run(step + 1, std::move(text), out);
}

void DecodePipe::end_byte_run(size_t step, std::string& out) {
  std::string bytes;
  bytes.swap(states_[step].held);
  if (bytes.empty()) return;
  if (utf8::find_invalid(bytes) == std::string_view::npos) {
    run(step + 1, std::move(bytes), out);
    return;
  }
  for (size_t i = 0; i < bytes.size(); ++i) run(step + 1, std::string(utf8::kReplacement), out);
}

void DecodePipe::byte_fallback(size_t step, const std::string& token, std::string& out) {
  const int byte = byte_of(token);
  if (byte >= 0) {
    states_[step].held += static_cast<char>(byte);
    return;
  }
  end_byte_run(step, out);
  run(step + 1, token, out);
}

void DecodePipe::strip(size_t step, std::string token, std::string& out) {
  const DecodeStep& s = steps_[step];
  State& state = states_[step];
  const auto begins = [&] { return token.compare(0, s.content.size(), s.content) == 0; };
  int64_t dropped = s.fused ? state.stripped : 0;
  while (dropped < s.start && !token.empty() && begins()) {
    token.erase(0, s.content.size());
    ++dropped;
  }
  // Another character has come: nothing more is dropped at the start.
  if (s.fused) state.stripped = token.empty() ? dropped : s.start;
  if (token.empty()) return;
  token.insert(0, state.held);
  state.held.clear();
  size_t end = token.size();
  for (int64_t i = 0; (s.fused || i < s.stop) && s.stop > 0 && end >= s.content.size() &&
                      token.compare(end - s.content.size(), s.content.size(), s.content) == 0;
       ++i) {
    end -= s.content.size();
  }
  if (s.fused) state.held = token.substr(end);
  token.resize(end);
  if (!token.empty()) run(step + 1, std::move(token), out);
}

std::string DecodePipe::metaspace(size_t step, const std::string& token) {
  const DecodeStep& s = steps_[step];
  const bool first = states_[step].seen++ == 0;
  std::string out;
  for (size_t at = 0; at < token.size();) {
    if (token.compare(at, s.content.size(), s.content) != 0) {
      out += token[at++];
      continue;
    }
    if (!first || !s.drop_first) out += ' ';
    at += s.content.size();
  }
  return out;
}

}  // namespace wingspan
