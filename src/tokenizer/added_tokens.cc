#include "tokenizer/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/limits.h"
#include "tokenizer/utf8.h"

namespace wingspan {
namespace {

constexpr size_t kMaxContent = 4096;

bool word_before(std::string_view text, size_t at) {
  return at > 0 && utf8::is_word(utf8::code_point(text, utf8::before(text, at)));
}
bool word_after(std::string_view text, size_t at) {
  return at < text.size() && utf8::is_word(utf8::code_point(text, at));
}

size_t skip_spaces_back(std::string_view text, size_t at, size_t least) {
  while (at > least) {
    const size_t before = utf8::before(text, at);
    if (!utf8::is_space(utf8::code_point(text, before))) break;
    at = before;
  }
  return at < least ? least : at;
}

size_t skip_spaces(std::string_view text, size_t at) {
  while (at < text.size() && utf8::is_space(utf8::code_point(text, at))) {
    at += utf8::length_at(text, at);
  }
  return at;
}

Expected<AddedToken> parse_token(const JsonObject& json) {
  AddedToken t;
  WS_ASSIGN(int64_t id, json.integer("id", 0, kMaxTokenId - 1));
  t.id = static_cast<int32_t>(id);
  WS_ASSIGN(t.content, json.string("content"));
  if (t.content.empty() || t.content.size() > kMaxContent) {
    return json.bad("content", fmt::format("has {} bytes", t.content.size()));
  }
  WS_ASSIGN(t.special, json.boolean_or("special", false));
  WS_ASSIGN(t.normalized, json.boolean_or("normalized", !t.special));
  WS_ASSIGN(t.single_word, json.boolean_or("single_word", false));
  WS_ASSIGN(t.lstrip, json.boolean_or("lstrip", false));
  WS_ASSIGN(t.rstrip, json.boolean_or("rstrip", false));
  return t;
}

}  // namespace

void TokenTrie::add(std::string_view text, size_t token) {
  if (text.empty()) return;
  first_[static_cast<unsigned char>(text[0])] = true;
  size_t at = 0;
  for (const char c : text) {
    const auto found = nodes_[at].next.find(c);
    if (found != nodes_[at].next.end()) {
      at = found->second;
      continue;
    }
    nodes_[at].next.emplace(c, nodes_.size());
    at = nodes_.size();
    nodes_.emplace_back();
  }
  nodes_[at].token = static_cast<int64_t>(token);
}

std::pair<int64_t, size_t> TokenTrie::longest(std::string_view text, size_t at) const {
  std::pair<int64_t, size_t> best{-1, at};
  size_t node = 0;
  while (at < text.size()) {
    const auto found = nodes_[node].next.find(text[at]);
    if (found == nodes_[node].next.end()) break;
    node = found->second;
    ++at;
    if (nodes_[node].token >= 0) best = {nodes_[node].token, at};
  }
  return best;
}

bool is_mark(const AddedToken& token) {
  const std::string& c = token.content;
  const bool brackets = c.size() > 2 && ((c.front() == '<' && c.back() == '>') ||
                                         (c.front() == '[' && c.back() == ']'));
  return token.special || brackets;
}

void TokenTrie::split(std::string_view text, const std::vector<AddedToken>& tokens,
                      std::vector<AddedSplit>& out, std::span<const TextRange> plain) const {
  const auto is_plain = [&](size_t begin, size_t end) {
    return std::any_of(plain.begin(), plain.end(), [&](const TextRange& range) {
      return begin < range.end && range.begin < end;
    });
  };
  size_t done = 0;  // everything before is cut
  for (size_t at = 0; at < text.size();) {
    if (!first_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const auto [index, match_end] = longest(text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens[static_cast<size_t>(index)];
    size_t begin = at, end = match_end;
    if (!plain.empty() && is_mark(token) && is_plain(begin, end)) {
      ++at;
      continue;
    }
    at = match_end;
    // Also when swallowed by the token before: its spaces end behind this match's begin.
    if (begin < done) continue;
    if (token.single_word && (word_before(text, begin) || word_after(text, end))) continue;
    if (token.lstrip) begin = skip_spaces_back(text, begin, done);
    if (token.rstrip) end = skip_spaces(text, end);
    if (done < begin) out.push_back({-1, text.substr(done, begin - done)});
    out.push_back({token.id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) out.push_back({-1, text.substr(done)});
}

Expected<AddedTokens> AddedTokens::parse(const JsonObject& parent,
                                         const std::unordered_map<std::string, int32_t>& vocab,
                                         const Normalizer& normalizer) {
  AddedTokens added;
  if (!parent.has("added_tokens")) return added;
  const Json& list = parent.json().at("added_tokens");
  if (!list.is_array()) return parent.bad("added_tokens", "must be an array");
  std::unordered_map<int32_t, const std::string*> by_id;
  for (const auto& [token, id] : vocab) by_id.emplace(id, &token);
  std::unordered_map<std::string, int32_t> seen;
  RegexScratch scratch;
  for (const Json& item : list) {
    WS_ASSIGN(JsonObject json,
              JsonObject::from(
                  item, fmt::format("{}, added_tokens[{}]", parent.where(), added.tokens_.size())));
    WS_ASSIGN(AddedToken token, parse_token(json));
    const auto in_vocab = by_id.find(token.id);
    const auto same_text = vocab.find(token.content);
    const bool other_text = in_vocab != by_id.end() && *in_vocab->second != token.content;
    if (other_text || (same_text != vocab.end() && same_text->second != token.id)) {
      return json.bad("id", fmt::format("{} contradicts the vocabulary", token.id));
    }
    if (!seen.emplace(token.content, token.id).second) {
      return json.bad("content", "stands twice");
    }
    TokenTrie& trie = token.normalized ? added.normalized_ : added.raw_;
    trie.add(token.normalized ? normalizer.apply(token.content, scratch) : token.content,
             added.tokens_.size());
    added.tokens_.push_back(std::move(token));
  }
  std::unordered_map<int32_t, bool> ids;
  for (const AddedToken& t : added.tokens_) {
    if (!ids.emplace(t.id, true).second) {
      return parent.bad("added_tokens", fmt::format("give the id {} to two tokens", t.id));
    }
  }
  return added;
}

}  // namespace wingspan
