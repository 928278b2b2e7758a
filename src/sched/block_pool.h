// The KV blocks of one rank: which are free, who holds how many references, and the prefix cache:
// full blocks found again by the tokens that they and all blocks before them hold.
//
// A cached block is named by (the cached block before it, its tokens). Since a block is given back
// after those that follow it, it is never evicted before them, so that name stays true. Tokens are
// compared, not only hashes: a wrong block would be a wrong answer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace wingspan {

class BlockPool {
 public:
  // `cache` false: no prefix cache, and no memory for one.
  BlockPool(int64_t blocks, int kv_block, bool cache);

  // Blocks that take() can give: free ones, and cached ones that nobody holds.
  int64_t available() const { return free_ + idle_; }
  int64_t blocks() const { return blocks_; }
  int64_t held() const { return blocks_ - available(); }

  // A block with one reference; evicts the cached block that was given back longest ago if none is
  // free. CHECKs that one is available.
  int32_t take();
  // Drops one reference. Of a sequence's blocks the last comes first.
  void give(int32_t block);

  // The cached blocks that hold the first tokens of `tokens`, at most hashes.size() of them, in
  // order; hashes[i] = chain_hash(hashes[i − 1], block i). Nothing is held yet.
  void match(std::span<const int32_t> tokens, std::span<const uint64_t> hashes,
             std::vector<int32_t>& out) const;
  // Blocks of `matched` that nobody holds: holding them makes as many fewer available.
  int64_t idle_of(std::span<const int32_t> matched) const;
  void hold(int32_t block);

  // Makes a full block known, `before` being the sequence's block before it (−1: the first), which
  // is cached itself. Returns `block`; or, if these tokens are cached already, that block, with a
  // reference in exchange for the one of `block`, which is given back.
  int32_t publish(int32_t block, int32_t before, uint64_t hash, std::span<const int32_t> tokens);

  static uint64_t chain_hash(uint64_t before, std::span<const int32_t> tokens);

 private:
  struct Block {
    uint64_t hash = 0;
    int32_t references = 0;
    int32_t before = -1;             // the cached block before it
    int32_t older = -1, newer = -1;  // among the idle ones
    int32_t next_in_bucket = -1;
    bool cached = false;
  };

  Block& at(int32_t block) { return info_[static_cast<size_t>(block)]; }
  const Block& at(int32_t block) const { return info_[static_cast<size_t>(block)]; }
  int32_t find(uint64_t hash, int32_t before, std::span<const int32_t> tokens) const;
  void forget(int32_t block);  // takes it out of its bucket
  void link_idle(int32_t block);
  void unlink_idle(int32_t block);

  int64_t blocks_;
  int kv_block_;
  bool cache_;
  // Free: given_back_, and those never used, next_ and up.
  std::vector<int32_t> given_back_;
  int32_t next_ = 0;
  int64_t free_, idle_ = 0;
  // With a cache only, by block.
  std::vector<Block> info_;
  std::vector<int32_t> tokens_;        // [blocks][kv_block]
  std::vector<int32_t> buckets_;       // first block of each
  int32_t oldest_ = -1, newest_ = -1;  // idle
};

}  // namespace wingspan
