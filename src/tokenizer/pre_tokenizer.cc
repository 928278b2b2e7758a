#include "tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "tokenizer/limits.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/utf8.h"

namespace wingspan {
namespace {

// What ByteLevel cuts by with use_regex (GPT-2).
constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

Expected<PreTokenizer> PreTokenizer::parse(const JsonObject& parent) {
  PreTokenizer p;
  if (!parent.has("pre_tokenizer")) return p;
  WS_ASSIGN(JsonObject json, parent.object("pre_tokenizer"));
  WS_RETURN_IF_ERROR(p.add(json, 0));
  return p;
}

Status PreTokenizer::add(const JsonObject& json, int depth) {
  WS_ASSIGN(std::string type, json.string("type"));
  if (byte_level_) return json.bad("type", "no step may follow ByteLevel");
  if (type == "Split") return add_split(json);
  if (type == "ByteLevel") return add_byte_level(json);
  if (type == "Metaspace") return add_metaspace(json);
  if (type == "Digits") {
    Step step;
    WS_ASSIGN(bool individual, json.boolean_or("individual_digits", false));
    WS_ASSIGN(step.pattern, Regex::compile(individual ? "\\p{N}" : "\\p{N}+", json.where()));
    steps_.push_back(std::move(step));
    return {};
  }
  if (type != "Sequence") {
    return json.bad("type", "the pre-tokenizer \"" + type + "\" is not supported");
  }
  if (depth == kMaxPipelineDepth) return json.bad("type", "sequences are nested too deep");
  if (!json.has("pretokenizers") || !json.json().at("pretokenizers").is_array()) {
    return json.bad("pretokenizers", "must be an array");
  }
  for (const Json& item : json.json().at("pretokenizers")) {
    WS_ASSIGN(JsonObject step, JsonObject::from(item, json.where() + ", pretokenizers"));
    WS_RETURN_IF_ERROR(add(step, depth + 1));
  }
  return {};
}

Status PreTokenizer::add_split(const JsonObject& json) {
  Step step;
  WS_ASSIGN(step.pattern, parse_pattern(json));
  WS_ASSIGN(step.invert, json.boolean_or("invert", false));
  WS_ASSIGN(std::string behavior, json.string("behavior"));
  const std::pair<const char*, Behavior> names[] = {
      {"Isolated", Behavior::kIsolated},
      {"Removed", Behavior::kRemoved},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  const auto* found = std::find_if(std::begin(names), std::end(names),
                                   [&](const auto& n) { return behavior == n.first; });
  if (found == std::end(names)) {
    return json.bad("behavior", "\"" + behavior + "\" is not supported");
  }
  step.behavior = found->second;
  steps_.push_back(std::move(step));
  return {};
}

Status PreTokenizer::add_byte_level(const JsonObject& json) {
  Step step;
  byte_level_ = true;
  WS_ASSIGN(step.prefix_space, json.boolean_or("add_prefix_space", true));
  WS_ASSIGN(bool use_regex, json.boolean_or("use_regex", true));
  if (use_regex) {
    WS_ASSIGN(step.pattern, Regex::compile(kGpt2, json.where()));
  }
  steps_.push_back(std::move(step));
  return {};
}

Status PreTokenizer::add_metaspace(const JsonObject& json) {
  Step step;
  step.metaspace = true;
  WS_ASSIGN(step.replacement, json.string_or("replacement", "\xE2\x96\x81"));
  if (step.replacement.empty() || step.replacement.size() != utf8::length_at(step.replacement, 0)) {
    return json.bad("replacement", "must be one character");
  }
  WS_ASSIGN(bool prefix, json.boolean_or("add_prefix_space", true));
  WS_ASSIGN(std::string scheme, json.string_or("prepend_scheme", prefix ? "always" : "never"));
  if (scheme == "never") {
    step.scheme = Scheme::kNever;
  } else if (scheme == "first") {
    step.scheme = Scheme::kFirst;
  } else if (scheme != "always") {
    return json.bad("prepend_scheme", "\"" + scheme + "\" is not supported");
  }
  WS_ASSIGN(bool split, json.boolean_or("split", true));
  if (split) {
    WS_ASSIGN(step.pattern, Regex::literal(step.replacement, json.where()));
    step.behavior = Behavior::kMergedWithNext;
  }
  steps_.push_back(std::move(step));
  return {};
}

// Pieces of one text by the matches of the pattern, as `tokenizers` cuts (its
// SplitDelimiterBehavior).
void PreTokenizer::cut(const Step& step, std::string_view text, RegexScratch& scratch,
                       std::vector<std::string_view>& out) {
  const size_t first = out.size();
  bool previous_match = false;
  size_t held = std::string_view::npos;  // a match that waits for what follows (MergedWithNext)
  const auto piece = [&](size_t begin, size_t end, bool matched) {
    if (begin == end) return;
    const bool match = matched != step.invert;
    const bool open = out.size() > first;
    const auto extend = [&] {
      const auto start = static_cast<size_t>(out.back().data() - text.data());
      out.back() = text.substr(start, end - start);
    };
    switch (step.behavior) {
      case Behavior::kIsolated:
        out.push_back(text.substr(begin, end - begin));
        break;
      case Behavior::kRemoved:
        if (!match) out.push_back(text.substr(begin, end - begin));
        break;
      case Behavior::kMergedWithPrevious:
        if (match && !previous_match && open) {
          extend();
        } else {
          out.push_back(text.substr(begin, end - begin));
        }
        break;
      case Behavior::kMergedWithNext:
        if (match) {
          if (held != std::string_view::npos) out.push_back(text.substr(held, begin - held));
          held = begin;
        } else {
          const size_t start = held != std::string_view::npos ? held : begin;
          out.push_back(text.substr(start, end - start));
          held = std::string_view::npos;
        }
        break;
      case Behavior::kContiguous:
        if (match == previous_match && open) {
          extend();
        } else {
          out.push_back(text.substr(begin, end - begin));
        }
        break;
    }
    previous_match = match;
  };
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const auto match = scratch.find(*step.pattern, text, at);
    if (!match) break;
    if (match->first == match->second) {
      at = match->second + (match->second < text.size() ? utf8::length_at(text, match->second) : 1);
      continue;
    }
    piece(done, match->first, false);
    piece(match->first, match->second, true);
    done = at = match->second;
  }
  piece(done, text.size(), false);
  if (held != std::string_view::npos) out.push_back(text.substr(held));
}

// Changes to the text before it is cut: a space or a replacement in front.
void PreTokenizer::prepare(const Step& step, Pieces& pieces, bool first) {
  for (size_t i = 0; i < pieces.list.size(); ++i) {
    std::string_view& piece = pieces.list[i];
    if (step.prefix_space && !piece.empty() && piece[0] != ' ') {
      pieces.owned.push_back(" " + std::string(piece));
      piece = pieces.owned.back();
    }
    if (!step.metaspace) continue;
    std::string text;
    for (const char c : piece) {
      if (c == ' ') {
        text += step.replacement;
      } else {
        text += c;
      }
    }
    const bool wanted =
        step.scheme == Scheme::kAlways || (step.scheme == Scheme::kFirst && first && i == 0);
    if (wanted && text.rfind(step.replacement, 0) != 0) text.insert(0, step.replacement);
    pieces.owned.push_back(std::move(text));
    piece = pieces.owned.back();
  }
}

void PreTokenizer::apply(Pieces& pieces, bool first, RegexScratch& scratch) const {
  for (const Step& step : steps_) {
    if (step.prefix_space || step.metaspace) prepare(step, pieces, first);
    if (!step.pattern) continue;
    pieces.spare.clear();
    for (const std::string_view piece : pieces.list) cut(step, piece, scratch, pieces.spare);
    std::swap(pieces.list, pieces.spare);
  }
}

}  // namespace wingspan
