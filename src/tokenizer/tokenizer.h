// Text <-> token ids by a Hugging Face tokenizer.json: byte-level BPE (DeepSeek, Llama 3, Qwen,
// gpt-oss) and BPE over characters with byte fallback (Mixtral, Llama 2).
//
// The pipeline is that of the `tokenizers` library: added tokens are cut out, the rest is
// normalised, cut into pieces, each piece merged by rank, and the post-processor adds special
// tokens. A step or an option that is not known is an error that names it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "tokenizer/added_tokens.h"

namespace wingspan {

struct TokenizerParts;  // tokenizer_parts.h

// Immutable and thread-safe after loading; copies share their tables.
class Tokenizer {
 public:
  // Errors (kInvalidInput, naming file and key): not JSON, wrong types, unknown steps or options,
  // merges of unknown tokens, conflicting ids, ids above 2^24, a pattern that does not compile.
  static Expected<Tokenizer> load(const Files& files, const std::string& path);
  static Expected<Tokenizer> parse(std::string_view json, const std::string& where);

  // Ids of `text`; `add_special`: with what the post-processor adds (BOS, …). Error
  // (kInvalidInput): not UTF-8, with the byte's offset. Time grows linearly with the text.
  // In the ranges of `plain`, ascending, what looks like a special token is text.
  Expected<std::vector<int32_t>> encode(std::string_view text, bool add_special,
                                        std::span<const TextRange> plain = {}) const;
  // Whether the text has something that encode() would take for a special token or a mark.
  bool has_mark(std::string_view text) const;
  // Text of `ids`, always UTF-8: what is no valid sequence becomes U+FFFD. `skip_special` leaves
  // special tokens out. Error: an id outside [0, vocab_size()).
  Expected<std::string> decode(std::span<const int32_t> ids, bool skip_special) const;

  // The bytes that a token stands for in the middle of a text; half a code point as it is. Empty:
  // no such token.
  std::string token_bytes(int32_t id) const;
  bool is_special(int32_t id) const;

  int vocab_size() const;  // largest id + 1, added tokens included
  std::optional<int32_t> token_to_id(std::string_view token) const;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::shared_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const TokenizerParts> parts_;
};

class DecodePipe;  // decoder.h

// decode() one token at a time: the concatenation of what push() and finish() return equals
// decode() of all ids. Text is held back while a later token may change it, so no push() ends
// inside a code point. Not thread-safe; the tokenizer may be gone before it.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  // Error: an id outside the vocabulary; nothing changes then.
  Expected<std::string> push(int32_t id);
  std::string finish();

 private:
  std::shared_ptr<const TokenizerParts> parts_;
  std::unique_ptr<DecodePipe> pipe_;
  bool skip_special_;
};

}  // namespace wingspan
