#include "sched/block_pool.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/hash.h"

namespace wingspan {

BlockPool::BlockPool(int64_t blocks, int kv_block, bool cache)
    : blocks_(blocks), kv_block_(kv_block), cache_(cache), free_(blocks) {
  if (!cache) return;
  info_.resize(static_cast<size_t>(blocks));
  tokens_.resize(static_cast<size_t>(blocks * kv_block));
  given_back_.reserve(static_cast<size_t>(blocks));
  buckets_.assign(std::bit_ceil(static_cast<size_t>(blocks)), -1);
}

int32_t BlockPool::take() {
  WS_CHECK(available() > 0, "none of {} KV blocks is available", blocks_);
  int32_t block;
  if (!given_back_.empty()) {
    block = given_back_.back();
    given_back_.pop_back();
    --free_;
  } else if (next_ < blocks_) {
    block = next_++;
    --free_;
  } else {
    block = oldest_;
    unlink_idle(block);
    forget(block);
  }
  if (cache_) at(block).references = 1;
  return block;
}

void BlockPool::give(int32_t block) {
  if (cache_) {
    Block& b = at(block);
    WS_CHECK(b.references > 0, "KV block {} is given back twice", block);
    if (--b.references > 0) return;
    if (b.cached) return link_idle(block);
  }
  given_back_.push_back(block);
  ++free_;
}

void BlockPool::match(std::span<const int32_t> tokens, std::span<const uint64_t> hashes,
                      std::vector<int32_t>& out) const {
  out.clear();
  if (!cache_) return;
  int32_t before = -1;
  for (size_t i = 0; i < hashes.size(); ++i) {
    const auto width = static_cast<size_t>(kv_block_);
    before = find(hashes[i], before, tokens.subspan(i * width, width));
    if (before < 0) return;
    out.push_back(before);
  }
}

int64_t BlockPool::idle_of(std::span<const int32_t> matched) const {
  return std::count_if(matched.begin(), matched.end(),
                       [&](int32_t block) { return at(block).references == 0; });
}

void BlockPool::hold(int32_t block) {
  if (at(block).references++ == 0) unlink_idle(block);
}

int32_t BlockPool::publish(int32_t block, int32_t before, uint64_t hash,
                           std::span<const int32_t> tokens) {
  WS_CHECK(cache_ && (before < 0 || at(before).cached), "KV block {} after {}", block, before);
  const int32_t known = find(hash, before, tokens);
  if (known >= 0) {
    if (known == block) return block;
    hold(known);
    give(block);
    return known;
  }
  Block& b = at(block);
  WS_CHECK(!b.cached, "KV block {} is cached under another name", block);
  b.cached = true;
  b.hash = hash;
  b.before = before;
  std::copy(tokens.begin(), tokens.end(),
            tokens_.begin() + static_cast<int64_t>(block) * kv_block_);
  int32_t& bucket = buckets_[hash & (buckets_.size() - 1)];
  b.next_in_bucket = bucket;
  bucket = block;
  return block;
}

uint64_t BlockPool::chain_hash(uint64_t before, std::span<const int32_t> tokens) {
  uint64_t hash = before;
  for (const int32_t token : tokens) hash = hash_mix(hash, static_cast<uint32_t>(token));
  return hash;
}

int32_t BlockPool::find(uint64_t hash, int32_t before, std::span<const int32_t> tokens) const {
  int32_t block = buckets_[hash & (buckets_.size() - 1)];
  for (; block >= 0; block = at(block).next_in_bucket) {
    const Block& b = at(block);
    if (b.hash != hash || b.before != before) continue;
    if (std::equal(tokens.begin(), tokens.end(),
                   tokens_.begin() + static_cast<int64_t>(block) * kv_block_)) {
      return block;
    }
  }
  return -1;
}

void BlockPool::forget(int32_t block) {
  Block& b = at(block);
  int32_t* link = &buckets_[b.hash & (buckets_.size() - 1)];
  while (*link != block) link = &at(*link).next_in_bucket;
  *link = b.next_in_bucket;
  b.cached = false;
  b.next_in_bucket = b.before = -1;
}

void BlockPool::link_idle(int32_t block) {
  Block& b = at(block);
  b.older = newest_;
  b.newer = -1;
  (newest_ >= 0 ? at(newest_).newer : oldest_) = block;
  newest_ = block;
  ++idle_;
}

void BlockPool::unlink_idle(int32_t block) {
  Block& b = at(block);
  (b.older >= 0 ? at(b.older).newer : oldest_) = b.newer;
  (b.newer >= 0 ? at(b.newer).older : newest_) = b.older;
  b.older = b.newer = -1;
  --idle_;
}

}  // namespace wingspan
