// The numeric profile of a run: what GEMM inputs are rounded to, and what is stored.
#pragma once

#include <string_view>

#include "base/status.h"
#include "tensor/dtype.h"

namespace wingspan {

// Version of the contract in kernels/numerics.h: an answer's bits depend on it.
constexpr int kNumericContractVersion = 1;

enum class ComputeMode {
  kF32,   // activations stay float32; weights as stored, multiplied as float32
  kBF16,  // GEMM inputs rounded to BF16 (the router's stay float32), float32 accumulation, BF16 KV
          // cache
  kFP8,   // W8A8 for FP8 weights (kv_b excepted), float32 for everything else
};

Expected<ComputeMode> compute_mode_from_name(std::string_view name);  // "f32", "bf16", "fp8"
const char* compute_mode_name(ComputeMode mode);

// The type to which a GEMM's input rows are converted, by the type of its weight as stored here.
DType activation_type(ComputeMode mode, DType weight);
// The type in which a weight is kept: float32 weights are rounded once at load under kBF16.
DType stored_weight_type(ComputeMode mode, DType checkpoint);
// The KV cache's type.
DType kv_type(ComputeMode mode);

}  // namespace wingspan
