#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "tokenizer/limits.h"
#include "tokenizer/utf8.h"

namespace wingspan {
namespace {

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string to_form(const std::string& text, int options) {
  if (is_ascii(text)) return text;
  utf8proc_uint8_t* out = nullptr;
  const auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                              static_cast<utf8proc_ssize_t>(text.size()), &out,
                              static_cast<utf8proc_option_t>(options));
  // Valid UTF-8 leaves only one cause.
  if (n < 0) throw std::bad_alloc();
  std::string result(reinterpret_cast<const char*>(out), static_cast<size_t>(n));
  std::free(out);
  return result;
}

}  // namespace

Expected<Regex> parse_pattern(const JsonObject& step) {
  WS_ASSIGN(JsonObject pattern, step.object("pattern"));
  if (pattern.has("String")) {
    WS_ASSIGN(std::string text, pattern.string("String"));
    if (text.empty()) return pattern.bad("String", "is empty");
    return Regex::literal(text, pattern.where());
  }
  WS_ASSIGN(std::string text, pattern.string("Regex"));
  return Regex::compile(text, pattern.where());
}

std::string replace_all(const std::string& text, const Regex& pattern, const std::string& content,
                        RegexScratch& scratch) {
  std::string out;
  size_t done = 0;
  for (size_t at = 0; at <= text.size();) {
    const auto match = scratch.find(pattern, text, at);
    if (!match) break;
    out.append(text, done, match->first - done);
    out += content;
    done = match->second;
    at = done;
    if (match->second > match->first) continue;
    // An empty match: on to the next code point.
    at += at < text.size() ? utf8::length_at(text, at) : 1;
  }
  return out.append(text, std::min(done, text.size()), std::string::npos);
}

Expected<Normalizer> Normalizer::parse(const JsonObject& parent) {
  Normalizer n;
  if (!parent.has("normalizer")) return n;
  WS_ASSIGN(JsonObject json, parent.object("normalizer"));
  WS_RETURN_IF_ERROR(n.add(json, 0));
  return n;
}

Status Normalizer::add(const JsonObject& json, int depth) {
  WS_ASSIGN(std::string type, json.string("type"));
  if (type == "Sequence") {
    if (depth == kMaxPipelineDepth) return json.bad("type", "sequences are nested too deep");
    if (!json.has("normalizers") || !json.json().at("normalizers").is_array()) {
      return json.bad("normalizers", "must be an array");
    }
    for (const Json& item : json.json().at("normalizers")) {
      WS_ASSIGN(JsonObject step, JsonObject::from(item, json.where() + ", normalizers"));
      WS_RETURN_IF_ERROR(add(step, depth + 1));
    }
    return {};
  }
  Step step;
  const int base = UTF8PROC_STABLE;
  if (type == "NFC") {
    step.form = base | UTF8PROC_COMPOSE;
  } else if (type == "NFD") {
    step.form = base | UTF8PROC_DECOMPOSE;
  } else if (type == "NFKC") {
    step.form = base | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
  } else if (type == "NFKD") {
    step.form = base | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    WS_ASSIGN(step.content, json.string("prepend"));
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    WS_ASSIGN(step.content, json.string("content"));
    WS_ASSIGN(step.pattern, parse_pattern(json));
  } else {
    return json.bad("type", "the normalizer \"" + type + "\" is not supported");
  }
  steps_.push_back(std::move(step));
  return {};
}

std::string Normalizer::apply(std::string text, RegexScratch& scratch) const {
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kForm:
        text = to_form(text, step.form);
        break;
      case Kind::kPrepend:
        if (!text.empty()) text.insert(0, step.content);
        break;
      case Kind::kReplace:
        text = replace_all(text, *step.pattern, step.content, scratch);
        break;
    }
  }
  return text;
}

}  // namespace wingspan
