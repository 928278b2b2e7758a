#include "tokenizer/tokenizer.h"

#include <algorithm>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"

namespace wingspan {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{512} << 20;

// Pieces repeat: the ids of those met before in this text are copied. Direct-mapped, so bounded.
class PieceCache {
 public:
  explicit PieceCache(size_t text_bytes) {
    size_t size = 64;
    while (size < kMaxEntries && size * 8 < text_bytes) size *= 2;
    entries_.resize(size);
  }
  struct Entry {
    std::string_view piece;
    size_t first = 0, count = 0;  // in the output
  };
  Entry& at(std::string_view piece) {
    uint64_t h = 0x9E3779B97F4A7C15ULL ^ piece.size();
    size_t i = 0;
    for (; i + 8 <= piece.size(); i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, piece.data() + i, 8);
      h = (h ^ word) * 0xFF51AFD7ED558CCDULL;
      h ^= h >> 32U;
    }
    for (; i < piece.size(); ++i) {
      h = (h ^ static_cast<unsigned char>(piece[i])) * 0x100000001B3ULL;
    }
    h ^= h >> 29U;
    return entries_[h & (entries_.size() - 1)];
  }

 private:
  static constexpr size_t kMaxEntries = size_t{1} << 15;
  std::vector<Entry> entries_;
};

// One call of encode().
class Encoder {
 public:
  Encoder(const TokenizerParts& parts, size_t text_bytes) : parts_(parts), cache_(text_bytes) {
    ids_.reserve(text_bytes / 3 + 8);
  }

  std::vector<int32_t> run(std::string_view text, std::span<const TextRange> plain) {
    std::vector<AddedSplit> raw, normalized;
    parts_.added.raw().split(text, parts_.added.tokens(), raw, plain);
    for (const AddedSplit& split : raw) {
      if (split.id >= 0) {
        ids_.push_back(split.id);
        continue;
      }
      std::string_view part = split.text;
      if (!parts_.normalizer.empty()) {
        kept_.push_back(parts_.normalizer.apply(std::string(part), scratch_));
        part = kept_.back();
      }
      normalized.clear();
      parts_.added.normalized().split(part, parts_.added.tokens(), normalized);
      for (const AddedSplit& s : normalized) {
        const bool first = s.text.data() == part.data() && split.text.data() == text.data();
        if (s.id >= 0) {
          ids_.push_back(s.id);
        } else {
          encode_text(s.text, first);
        }
      }
    }
    return std::move(ids_);
  }

 private:
  void encode_text(std::string_view text, bool first) {
    pieces_.list.assign(1, text);
    parts_.pre_tokenizer.apply(pieces_, first, scratch_);
    for (const std::string_view piece : pieces_.list) encode_piece(piece);
  }

  void encode_piece(std::string_view piece) {
    PieceCache::Entry& entry = cache_.at(piece);
    if (entry.piece == piece && entry.count > 0) {
      for (size_t i = 0; i < entry.count; ++i) ids_.push_back(ids_[entry.first + i]);
      return;
    }
    const size_t first = ids_.size();
    parts_.bpe.encode(piece, bpe_, ids_);
    entry = {piece, first, ids_.size() - first};
  }

  const TokenizerParts& parts_;
  PieceCache cache_;
  RegexScratch scratch_;
  BpeScratch bpe_;
  Pieces pieces_;
  std::deque<std::string> kept_;  // normalised text that pieces point into
  std::vector<int32_t> ids_;
};

Status index_tokens(TokenizerParts& parts, const JsonObject& object) {
  const auto put = [&](int32_t id, const std::string& text) {
    const auto at = static_cast<size_t>(id);
    if (parts.tokens.size() <= at)
      parts.tokens.resize(std::max(at + 1, parts.tokens.size() * 3 / 2));
    parts.tokens[at] = text;
  };
  int32_t largest = -1;
  for (const auto& [token, id] : parts.bpe.vocab()) {
    put(id, token);
    largest = std::max(largest, id);
  }
  for (const AddedToken& t : parts.added.tokens()) {
    put(t.id, t.content);
    largest = std::max(largest, t.id);
  }
  if (largest < 0) return object.bad("model", "has no token");
  parts.tokens.resize(static_cast<size_t>(largest) + 1);
  parts.special.resize(parts.tokens.size());
  for (const AddedToken& t : parts.added.tokens()) {
    parts.special[static_cast<size_t>(t.id)] = t.special;
  }
  return {};
}

Status check_id(const TokenizerParts& parts, int32_t id) {
  if (id >= 0 && static_cast<size_t>(id) < parts.tokens.size()) return {};
  return invalid_input(
      fmt::format("token id {} is outside the vocabulary of {}", id, parts.tokens.size()), "",
      "use ids from this tokenizer");
}

}  // namespace

Expected<Tokenizer> Tokenizer::parse(std::string_view json, const std::string& where) {
  WS_ASSIGN(Json document, parse_json(json, where, {.max_bytes = kMaxFileBytes}));
  WS_ASSIGN(JsonObject object, JsonObject::from(document, where));
  // "truncation" and "padding" are what the file's last user had asked for, not part of the
  // tokenizer: transformers ignores them too.
  auto parts = std::make_shared<TokenizerParts>();
  WS_ASSIGN(parts->normalizer, Normalizer::parse(object));
  WS_ASSIGN(parts->pre_tokenizer, PreTokenizer::parse(object));
  WS_ASSIGN(JsonObject model, object.object("model"));
  WS_ASSIGN(parts->bpe, Bpe::parse(model, parts->pre_tokenizer.byte_level()));
  WS_ASSIGN(parts->added, AddedTokens::parse(object, parts->bpe.vocab(), parts->normalizer));
  WS_ASSIGN(parts->post_processor, PostProcessor::parse(object));
  WS_ASSIGN(parts->decoder, parse_decoder(object));
  WS_RETURN_IF_ERROR(index_tokens(*parts, object));
  return Tokenizer(std::move(parts));
}

Expected<Tokenizer> Tokenizer::load(const Files& files, const std::string& path) {
  WS_ASSIGN(std::string text, files.read_text(path, kMaxFileBytes));
  return parse(text, path);
}

Expected<std::vector<int32_t>> Tokenizer::encode(std::string_view text, bool add_special,
                                                 std::span<const TextRange> plain) const {
  const size_t invalid = utf8::find_invalid(text);
  if (invalid != std::string_view::npos) {
    return invalid_input(fmt::format("the text is not UTF-8 at byte {}", invalid), "",
                         "convert it to UTF-8");
  }
  Encoder encoder(*parts_, text.size());
  auto ids = encoder.run(text, plain);
  if (add_special) parts_->post_processor.apply(ids);
  return ids;
}

Expected<std::string> Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  StreamDecoder decoder(*this, skip_special);
  std::string text;
  for (const int32_t id : ids) {
    WS_ASSIGN(std::string delta, decoder.push(id));
    text += delta;
  }
  return text + decoder.finish();
}

std::string Tokenizer::token_bytes(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= parts_->tokens.size()) return "";
  const std::string& token = parts_->tokens[static_cast<size_t>(id)];
  for (const AddedToken& t : parts_->added.tokens()) {
    if (t.id == id) return token;
  }
  for (const DecodeStep& step : parts_->decoder) {
    if (step.kind == DecodeKind::kByteLevel) return bytes_of_alphabet(token).value_or(token);
    // <0x41>
    const bool byte = step.kind == DecodeKind::kByteFallback && token.size() == 6 &&
                      token.rfind("<0x", 0) == 0 && token.back() == '>';
    if (byte) return std::string(1, static_cast<char>(std::stoi(token.substr(3, 2), nullptr, 16)));
  }
  // As it reads behind another token: what the first of a text loses stays.
  DecodePipe pipe(parts_->decoder);
  const std::string before = pipe.push("a");
  return pipe.push(token) + pipe.finish();
}

bool Tokenizer::has_mark(std::string_view text) const {
  std::vector<AddedSplit> splits;
  parts_->added.raw().split(text, parts_->added.tokens(), splits);
  return std::any_of(splits.begin(), splits.end(), [&](const AddedSplit& split) {
    const auto& tokens = parts_->added.tokens();
    return split.id >= 0 && std::any_of(tokens.begin(), tokens.end(), [&](const AddedToken& t) {
             return t.id == split.id && is_mark(t);
           });
  });
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < parts_->special.size() &&
         parts_->special[static_cast<size_t>(id)];
}

int Tokenizer::vocab_size() const { return static_cast<int>(parts_->tokens.size()); }

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  for (const AddedToken& t : parts_->added.tokens()) {
    if (t.content == token) return t.id;
  }
  const auto found = parts_->bpe.vocab().find(std::string(token));
  if (found == parts_->bpe.vocab().end()) return std::nullopt;
  return found->second;
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : parts_(tokenizer.parts_),
      pipe_(std::make_unique<DecodePipe>(parts_->decoder)),
      skip_special_(skip_special) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

Expected<std::string> StreamDecoder::push(int32_t id) {
  WS_RETURN_IF_ERROR(check_id(*parts_, id));
  const auto at = static_cast<size_t>(id);
  // A hole in the ids stands for no text.
  if (parts_->tokens[at].empty() || (skip_special_ && parts_->special[at])) return std::string();
  return pipe_->push(parts_->tokens[at]);
}

std::string StreamDecoder::finish() { return pipe_->finish(); }

}  // namespace wingspan
