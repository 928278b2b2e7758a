// Text in and out of a model directory: its tokenizer, its BOS habit, and stop texts.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "tokenizer/tokenizer.h"

namespace wingspan {

// A directory without tokenizer.json works with ids alone.
class TextModel {
 public:
  static Expected<TextModel> load(const Files& files, const std::string& directory);
  const std::string& directory() const { return directory_; }
  bool has_tokenizer() const { return tokenizer_ != nullptr; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // With special tokens: those of the post-processor, and BOS where tokenizer_config.json says
  // add_bos_token. Errors: no tokenizer, empty text, not UTF-8; `where` names the prompt.
  Expected<std::vector<int32_t>> encode(std::string_view text, const std::string& where) const;
  // The id that encode() puts first, where it does so by itself.
  std::optional<int32_t> bos() const { return bos_; }

 private:
  Status read_bos(const Files& files, const std::string& path);
  std::string directory_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<int32_t> bos_;
};

// The text of one answer as its tokens come: decoded without special tokens, cut before the first
// stop text.
class OutputText {
 public:
  // `keep_stop`: the stop text itself stays in the text. `skip_special`: special tokens do not.
  OutputText(const Tokenizer& tokenizer, const std::vector<std::string>& stops,
             bool keep_stop = false, bool skip_special = true);
  // Text that is certain now, to be shown after what was shown before. Never half a code point,
  // never the beginning of a stop text.
  Expected<std::string> push(int32_t token);
  // The rest, at the end of the answer.
  Expected<std::string> finish();
  bool stopped() const { return stopped_; }
  // Which of the stop texts it was, once stopped().
  const std::string& stop() const { return stop_; }
  const std::string& text() const { return text_; }  // all that was shown

 private:
  std::string take_certain(bool last);
  StreamDecoder decoder_;
  const std::vector<std::string>* stops_;
  std::string pending_;  // decoded, not yet shown
  std::string text_, stop_;
  bool keep_stop_, stopped_ = false;
};

}  // namespace wingspan
