// The BPE model: symbols of a piece, merged by rank.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"

namespace wingspan {

struct BpeSymbol {
  int32_t id;
  int32_t previous, next;  // neighbours, −1: none
};
struct BpeCandidate {
  int32_t rank, at, left, right;
};
// Reused between pieces.
struct BpeScratch {
  std::vector<BpeSymbol> symbols;
  std::vector<BpeCandidate> heap;
};

class Bpe {
 public:
  // `byte_level`: pieces are raw bytes and the vocabulary is written in the byte alphabet.
  static Expected<Bpe> parse(const JsonObject& model, bool byte_level);

  // Appends the ids of one piece. O(n log n) in its length.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;

  // As in the file: "Ġthe".
  const std::unordered_map<std::string, int32_t>& vocab() const { return vocab_; }

 private:
  struct Merge {
    int32_t rank, id;
  };
  Status read_vocab(const JsonObject& model);
  Status read_merges(const JsonObject& model);
  Status read_options(const JsonObject& model);
  Status add_merge(const JsonObject& model, size_t index, const std::string& left,
                   const std::string& right);
  const Merge* find_merge(int32_t left, int32_t right) const;
  void add_symbols(std::string_view piece, std::vector<BpeSymbol>& symbols) const;
  void add_unknown(std::string_view character, std::vector<BpeSymbol>& symbols) const;
  void merge_short(std::vector<BpeSymbol>& symbols) const;
  void merge_long(BpeScratch& scratch) const;

  bool byte_level_ = false;
  bool byte_fallback_ = false, fuse_unknown_ = false, ignore_merges_ = false;
  int32_t unknown_ = -1;
  std::unordered_map<std::string, int32_t> vocab_;
  std::unordered_map<std::string, int32_t> pieces_;  // by raw text: what a piece may look like
  std::vector<int32_t> bytes_;  // ids of single bytes, or of <0x00>…; −1: none
  // Open addressing by (left, right); the size is a power of two.
  std::vector<uint64_t> keys_;
  std::vector<Merge> merges_;
  size_t mask_ = 0;
};

}  // namespace wingspan
