// Tokens -> text as a pipe of steps, each of which holds back what a later token may change.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tokenizer/regex.h"

namespace wingspan {

enum class DecodeKind {
  kJoin,          // no decoder: tokens with spaces between
  kByteLevel,     // GPT-2's alphabet -> bytes -> UTF-8
  kReplace,       // a pattern in each token
  kByteFallback,  // <0x41> -> bytes; a run that is no UTF-8 becomes one U+FFFD a byte
  kFuse,          // all one string from here on
  kStrip,         // a character at the ends (of the fused string, else of each token)
  kMetaspace,
};

struct DecodeStep {
  DecodeKind kind = DecodeKind::kJoin;
  std::optional<Regex> pattern;
  std::string content;  // replacement; stripped character; metaspace character
  int64_t start = 0, stop = 0;
  bool fused = false;       // the text before is one string
  bool drop_first = false;  // Metaspace: the first token loses its replacement characters
};

// The "decoder" of tokenizer.json. Unknown steps are errors that name them.
Expected<std::vector<DecodeStep>> parse_decoder(const JsonObject& parent);

// One run of the pipe. `steps` must outlive it.
class DecodePipe {
 public:
  explicit DecodePipe(const std::vector<DecodeStep>& steps);
  // Text that the token (as in the vocabulary) makes certain.
  std::string push(const std::string& token);
  std::string finish();

 private:
  struct State {
    std::string held;      // bytes of an unfinished code point or run; trailing stripped characters
    int64_t stripped = 0;  // of the fused string's start
    int64_t seen = 0;      // tokens
  };
  void run(size_t step, std::string token, std::string& out);
  void flush(size_t step, std::string& out);
  void byte_level(size_t step, const std::string& token, std::string& out);
  void byte_fallback(size_t step, const std::string& token, std::string& out);
  void strip(size_t step, std::string token, std::string& out);
  std::string metaspace(size_t step, const std::string& token);
  void end_byte_run(size_t step, std::string& out);

  const std::vector<DecodeStep>& steps_;
  std::vector<State> states_;
  RegexScratch scratch_;
};

}  // namespace wingspan
