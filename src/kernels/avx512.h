// The kernels for CPUs with AVX-512, BF16 dot products and byte permutes (VBMI). Ops that are not
// here take the portable ones of x86-64-v4.
#pragma once

#include "kernels/linear.h"
#include "kernels/mla_attention.h"

namespace wingspan::avx512 {

void linear(const LinearArgs& args);
void gate_up(const GateUpArgs& args);
void mla_attention(const MlaAttentionArgs& args);
float probe_bf16(int64_t rounds);

}  // namespace wingspan::avx512
