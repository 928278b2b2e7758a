#include "tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/limits.h"
#include "tokenizer/utf8.h"

namespace wingspan {
namespace {

constexpr size_t kShortPiece = 24;  // symbols up to which a scan beats a heap
constexpr uint64_t kEmpty = ~uint64_t{0};

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32U | static_cast<uint32_t>(right);
}
size_t hash_of(uint64_t key) {
  key *= 0x9E3779B97F4A7C15ULL;
  return static_cast<size_t>(key ^ key >> 32U);
}

bool later(const BpeCandidate& a, const BpeCandidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
}

}  // namespace

Expected<Bpe> Bpe::parse(const JsonObject& model, bool byte_level) {
  Bpe bpe;
  bpe.byte_level_ = byte_level;
  WS_ASSIGN(std::string type, model.string_or("type", "BPE"));
  if (type != "BPE") return model.bad("type", "\"" + type + "\" is not supported, BPE is");
  WS_RETURN_IF_ERROR(bpe.read_vocab(model));
  WS_RETURN_IF_ERROR(bpe.read_options(model));
  WS_RETURN_IF_ERROR(bpe.read_merges(model));
  return bpe;
}

Status Bpe::read_options(const JsonObject& model) {
  WS_ASSIGN(double dropout, model.number_or("dropout", 0, 1, 0));
  if (dropout > 0) return model.bad("dropout", "is not supported");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    WS_ASSIGN(std::string text, model.string_or(key, ""));
    if (!text.empty()) return model.bad(key, "is not supported");
  }
  WS_ASSIGN(byte_fallback_, model.boolean_or("byte_fallback", false));
  WS_ASSIGN(fuse_unknown_, model.boolean_or("fuse_unk", false));
  WS_ASSIGN(ignore_merges_, model.boolean_or("ignore_merges", false));
  if (model.has("unk_token")) {
    WS_ASSIGN(std::string token, model.string("unk_token"));
    const auto found = vocab_.find(token);
    if (found == vocab_.end()) return model.bad("unk_token", "\"" + token + "\" is not in vocab");
    unknown_ = found->second;
  }
  bytes_.assign(256, -1);
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text =
        byte_level_ ? std::string(1, static_cast<char>(byte)) : fmt::format("<0x{:02X}>", byte);
    const auto found = pieces_.find(text);
    if (found != pieces_.end()) bytes_[static_cast<size_t>(byte)] = found->second;
  }
  return {};
}

Status Bpe::read_vocab(const JsonObject& model) {
  if (!model.has("vocab") || !model.json().at("vocab").is_object()) {
    return model.bad("vocab", "must be an object of token: id");
  }
  WS_ASSIGN(JsonObject vocab, model.object("vocab"));
  if (vocab.json().empty()) return model.bad("vocab", "is empty");
  std::vector<bool> taken;
  for (const auto& [token, value] : vocab.json().items()) {
    WS_ASSIGN(int64_t id, vocab.integer(token, 0, kMaxTokenId - 1));
    const auto at = static_cast<size_t>(id);
    if (taken.size() <= at) taken.resize(std::max(at + 1, taken.size() * 2));
    if (taken[at]) return vocab.bad(token, fmt::format("has the id {} of another token", id));
    taken[at] = true;
    vocab_.emplace(token, static_cast<int32_t>(id));
    if (!byte_level_) continue;
    if (auto bytes = bytes_of_alphabet(token)) pieces_.emplace(*bytes, static_cast<int32_t>(id));
  }
  if (!byte_level_) pieces_ = vocab_;
  return {};
}

Status Bpe::add_merge(const JsonObject& model, size_t index, const std::string& left,
                      const std::string& right) {
  const auto a = vocab_.find(left), b = vocab_.find(right), both = vocab_.find(left + right);
  if (a == vocab_.end() || b == vocab_.end() || both == vocab_.end()) {
    return model.bad("merges", fmt::format("entry {} names tokens that are not in vocab", index));
  }
  const uint64_t key = pair_key(a->second, b->second);
  size_t at = hash_of(key) & mask_;
  while (keys_[at] != kEmpty && keys_[at] != key) at = (at + 1) & mask_;
  keys_[at] = key;  // of equal pairs the last rank counts
  merges_[at] = {static_cast<int32_t>(index), both->second};
  return {};
}

Status Bpe::read_merges(const JsonObject& model) {
  if (!model.has("merges") || !model.json().at("merges").is_array()) {
    return model.bad("merges", "must be an array");
  }
  const Json& merges = model.json().at("merges");
  size_t size = 16;
  while (size < merges.size() * 2) size *= 2;
  mask_ = size - 1;
  keys_.assign(size, kEmpty);
  merges_.assign(size, {});
  size_t index = 0;
  for (const Json& entry : merges) {
    std::string left, right;
    if (entry.is_string()) {
      const auto& text = entry.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        return model.bad("merges", fmt::format("entry {} is not \"left right\"", index));
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
               entry[1].is_string()) {
      left = entry[0];
      right = entry[1];
    } else {
      return model.bad("merges", fmt::format("entry {} is no pair of tokens", index));
    }
    WS_RETURN_IF_ERROR(add_merge(model, index++, left, right));
  }
  return {};
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  for (size_t at = hash_of(key) & mask_; keys_[at] != kEmpty; at = (at + 1) & mask_) {
    if (keys_[at] == key) return &merges_[at];
  }
  return nullptr;
}

// A character that is not in the vocabulary: its bytes' tokens, else the unknown token, else
// nothing.
void Bpe::add_unknown(std::string_view character, std::vector<BpeSymbol>& symbols) const {
  if (byte_fallback_ && std::all_of(character.begin(), character.end(), [&](char c) {
        return bytes_[static_cast<unsigned char>(c)] >= 0;
      })) {
    for (const char c : character) {
      symbols.push_back({bytes_[static_cast<unsigned char>(c)], 0, 0});
    }
    return;
  }
  if (unknown_ < 0) return;
  if (fuse_unknown_ && !symbols.empty() && symbols.back().id == unknown_) return;
  symbols.push_back({unknown_, 0, 0});
}

void Bpe::add_symbols(std::string_view piece, std::vector<BpeSymbol>& symbols) const {
  symbols.clear();
  if (byte_level_) {
    for (const char c : piece) {
      const int32_t id = bytes_[static_cast<unsigned char>(c)];
      if (id >= 0) {
        symbols.push_back({id, 0, 0});
      } else if (unknown_ >= 0) {
        symbols.push_back({unknown_, 0, 0});
      }
    }
  } else {
    std::string character;
    for (size_t at = 0; at < piece.size(); at += character.size()) {
      character.assign(piece.substr(at, utf8::length_at(piece, at)));
      const auto found = pieces_.find(character);
      if (found != pieces_.end()) {
        symbols.push_back({found->second, 0, 0});
      } else {
        add_unknown(character, symbols);
      }
    }
  }
  const auto n = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < n; ++i) {
    symbols[static_cast<size_t>(i)].previous = i - 1;
    symbols[static_cast<size_t>(i)].next = i + 1 < n ? i + 1 : -1;
  }
}

// The lowest rank, leftmost first, until no pair merges.
void Bpe::merge_short(std::vector<BpeSymbol>& symbols) const {
  for (;;) {
    const Merge* best = nullptr;
    size_t best_at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const Merge* m = find_merge(symbols[i].id, symbols[i + 1].id);
      if (m == nullptr || (best != nullptr && m->rank >= best->rank)) continue;
      best = m;
      best_at = i;
    }
    if (best == nullptr) return;
    symbols[best_at].id = best->id;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

void Bpe::merge_long(BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  heap.clear();
  const auto candidate = [&](int32_t at) {
    if (at < 0) return;
    const BpeSymbol& s = symbols[static_cast<size_t>(at)];
    if (s.next < 0) return;
    const int32_t right = symbols[static_cast<size_t>(s.next)].id;
    const Merge* m = find_merge(s.id, right);
    if (m == nullptr) return;
    heap.push_back({m->rank, at, s.id, right});
    std::push_heap(heap.begin(), heap.end(), later);
  };
  for (int32_t i = 0; i < static_cast<int32_t>(symbols.size()); ++i) candidate(i);
  while (!heap.empty()) {
    const BpeCandidate top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), later);
    heap.pop_back();
    BpeSymbol& s = symbols[static_cast<size_t>(top.at)];
    // Out of date: one of the two has been merged since.
    if (s.id != top.left || s.next < 0) continue;
    BpeSymbol& gone = symbols[static_cast<size_t>(s.next)];
    if (gone.id != top.right) continue;
    s.id = find_merge(top.left, top.right)->id;
    s.next = gone.next;
    gone.id = -1;
    if (s.next >= 0) symbols[static_cast<size_t>(s.next)].previous = top.at;
    candidate(s.previous);
    candidate(top.at);
  }
  symbols.erase(
      std::remove_if(symbols.begin(), symbols.end(), [](const BpeSymbol& s) { return s.id < 0; }),
      symbols.end());
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (piece.empty()) return;
  if (ignore_merges_) {
    const auto found = pieces_.find(std::string(piece));
    if (found != pieces_.end()) {
      ids.push_back(found->second);
      return;
    }
  }
  add_symbols(piece, scratch.symbols);
  if (scratch.symbols.size() <= kShortPiece) {
    merge_short(scratch.symbols);
  } else {
    merge_long(scratch);
  }
  for (const BpeSymbol& s : scratch.symbols) ids.push_back(s.id);
}

}  // namespace wingspan
