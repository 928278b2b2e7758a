#include "model/compute.h"

#include <string>

namespace wingspan {

Expected<ComputeMode> compute_mode_from_name(std::string_view name) {
  if (name == "f32") return ComputeMode::kF32;
  if (name == "bf16") return ComputeMode::kBF16;
  if (name == "fp8") return ComputeMode::kFP8;
  return invalid_input("unknown compute mode \"" + std::string(name) + "\"", "--compute",
                       "use f32, bf16 or fp8");
}

const char* compute_mode_name(ComputeMode mode) {
  switch (mode) {
    case ComputeMode::kF32:
      return "f32";
    case ComputeMode::kBF16:
      return "bf16";
    case ComputeMode::kFP8:
      return "fp8";
  }
  return "";
}

DType activation_type(ComputeMode mode, DType weight) {
  if (mode == ComputeMode::kBF16) return DType::kBF16;
  if (mode == ComputeMode::kFP8 && weight == DType::kF8E4M3) return DType::kF8E4M3;
  return DType::kF32;
}

DType stored_weight_type(ComputeMode mode, DType checkpoint) {
  if (checkpoint == DType::kF32 && mode == ComputeMode::kBF16) return DType::kBF16;
  return checkpoint;
}

DType kv_type(ComputeMode mode) { return mode == ComputeMode::kBF16 ? DType::kBF16 : DType::kF32; }

}  // namespace wingspan
