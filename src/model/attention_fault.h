// A deliberate fault for the exactness suite: attention that reduces in chunks of another size.
#pragma once

#include "kernels/mla_attention.h"

namespace wingspan {

// Right but for rounding: an online softmax over chunks of 8 positions instead of 64.
void attention_in_small_chunks(const MlaAttentionArgs& args);

}  // namespace wingspan
