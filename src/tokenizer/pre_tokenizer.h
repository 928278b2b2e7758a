// Cuts normalised text into the pieces that BPE merges within.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tokenizer/regex.h"

namespace wingspan {

// Pieces of one text; `owned` keeps those that a step had to change.
struct Pieces {
  std::vector<std::string_view> list, spare;
  std::deque<std::string> owned;
};

class PreTokenizer {
 public:
  // `parent`'s "pre_tokenizer": Split, ByteLevel, Metaspace, Digits and sequences of them; absent
  // or null: none. Unknown steps and options are errors that name them.
  static Expected<PreTokenizer> parse(const JsonObject& parent);
  // Whether pieces are bytes in GPT-2's alphabet (here: raw bytes).
  bool byte_level() const { return byte_level_; }
  // pieces.list: in, one text; out, its pieces. `first`: the text begins the whole input.
  void apply(Pieces& pieces, bool first, RegexScratch& scratch) const;

 private:
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  enum class Scheme { kAlways, kNever, kFirst };
  struct Step {
    std::optional<Regex> pattern;  // cuts at its matches
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
    bool prefix_space = false;  // ByteLevel
    bool metaspace = false;
    std::string replacement;
    Scheme scheme = Scheme::kAlways;
  };
  Status add(const JsonObject& json, int depth);
  Status add_split(const JsonObject& json);
  Status add_byte_level(const JsonObject& json);
  Status add_metaspace(const JsonObject& json);
  static void cut(const Step& step, std::string_view text, RegexScratch& scratch,
                  std::vector<std::string_view>& out);
  static void prepare(const Step& step, Pieces& pieces, bool first);

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace wingspan
