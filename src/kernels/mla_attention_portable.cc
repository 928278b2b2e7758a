// Absorbed MLA attention over 16 lanes; scores of either cache in float32.
#include "kernels/mla_attention_tile.h"
#include "kernels/portable.h"

namespace wingspan::WINGSPAN_ISA {

void mla_attention(const MlaAttentionArgs& a) {
  if (a.kv_dtype == DType::kF32) {
    attend<PairQueries, float>(a);
  } else {
    attend<PairQueries, uint16_t>(a);
  }
}

}  // namespace wingspan::WINGSPAN_ISA
