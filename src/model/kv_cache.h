// The KV cache of one rank: a pool of blocks of 64 positions for every layer, in anonymous memory
// that is touched only where it is used.
#pragma once

#include <cstdint>

#include "kernels/mla_attention.h"
#include "model/config.h"
#include "tensor/buffer.h"

namespace wingspan {

class KvCache {
 public:
  KvCache(const ModelConfig& config, DType dtype, int64_t blocks)
      : dtype_(dtype),
        blocks_(blocks),
        row_bytes_(mla_kv_stride(config.mla.kv_lora, config.mla.rope) * dtype_size(dtype)),
        data_(static_cast<size_t>(config.layers * blocks * kKvBlock * row_bytes_)) {}

  DType dtype() const { return dtype_; }
  int64_t blocks() const { return blocks_; }
  // Block `block` of `layer`: [64][mla_kv_stride].
  std::byte* block(int layer, int32_t block) {
    return data_.data() + (layer * blocks_ + block) * kKvBlock * row_bytes_;
  }
  // The row of one position within a block.
  std::byte* row(int layer, int32_t block_id, int64_t position) {
    return block(layer, block_id) + position % kKvBlock * row_bytes_;
  }

 private:
  DType dtype_;
  int64_t blocks_, row_bytes_;
  Buffer data_;
};

}  // namespace wingspan
