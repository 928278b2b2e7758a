// Tokens that are cut out of the text before the model sees it: special ones and others.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "tokenizer/normalizer.h"

namespace wingspan {

struct AddedToken;
// Whether a token marks something (the end of a turn, a role) rather than being a word: it is
// special, or stands in angle or square brackets, as some families write marks without saying that
// they are special.
bool is_mark(const AddedToken& token);

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin = 0, end = 0;
};

// A stretch of text: a token, or text between tokens (id −1).
struct AddedSplit {
  int32_t id;
  std::string_view text;
};

// Finds the tokens of one trie: leftmost, then longest.
class TokenTrie {
 public:
  void add(std::string_view text, size_t token);
  bool empty() const { return nodes_.size() == 1; }
  // Cuts `text`; `tokens` gives the rules of each token. In the ranges of `plain` (ascending) a
  // token that serves as a mark (is_mark) is text.
  void split(std::string_view text, const std::vector<AddedToken>& tokens,
             std::vector<AddedSplit>& out, std::span<const TextRange> plain = {}) const;

 private:
  struct Node {
    std::map<char, size_t> next;
    int64_t token = -1;
  };
  // The longest token at `at`: its index and end, or index −1.
  std::pair<int64_t, size_t> longest(std::string_view text, size_t at) const;
  std::vector<Node> nodes_{1};
  bool first_[256] = {};
};

class AddedTokens {
 public:
  // `parent`'s "added_tokens". A token of the model's vocabulary must have the id it has there.
  static Expected<AddedTokens> parse(const JsonObject& parent,
                                     const std::unordered_map<std::string, int32_t>& vocab,
                                     const Normalizer& normalizer);
  // Those that match the text as given, and those that match after normalisation.
  const TokenTrie& raw() const { return raw_; }
  const TokenTrie& normalized() const { return normalized_; }
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  std::vector<AddedToken> tokens_;
  TokenTrie raw_, normalized_;
};

}  // namespace wingspan
