// The normalizer of tokenizer.json: NFC, NFD, NFKC, NFKD, Prepend, Replace, and sequences of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "tokenizer/regex.h"

namespace wingspan {

class Normalizer {
 public:
  // `parent`'s "normalizer"; absent or null: none. Unknown steps are errors that name them.
  static Expected<Normalizer> parse(const JsonObject& parent);
  bool empty() const { return steps_.empty(); }
  // Of valid UTF-8.
  std::string apply(std::string text, RegexScratch& scratch) const;

 private:
  enum class Kind { kForm, kPrepend, kReplace };
  struct Step {
    Kind kind = Kind::kForm;
    int form = 0;         // utf8proc options
    std::string content;  // prepended or put in
    std::optional<Regex> pattern;
  };
  Status add(const JsonObject& json, int depth);
  std::vector<Step> steps_;
};

// A "pattern" of tokenizer.json: {"String": …} or {"Regex": …}.
Expected<Regex> parse_pattern(const JsonObject& step);
// Every match of `pattern` replaced.
std::string replace_all(const std::string& text, const Regex& pattern, const std::string& content,
                        RegexScratch& scratch);

}  // namespace wingspan
