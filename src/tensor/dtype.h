// Element types of tensors, and exact conversions between them.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

namespace wingspan {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kF8E4M3,
  kF8E5M2,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kBool
};

// Bytes of one element.
int dtype_size(DType dtype);
// The name in safetensors files: "F32", "BF16", "F8_E4M3", …
std::string_view dtype_name(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);

// BF16 is the upper half of a float32.
static inline float bf16_to_f32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
// Round to nearest even; a NaN stays a NaN.
static inline uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((bits >> 16) | 0x40U);
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

// FP8 E4M3 (fn): bias 7, no infinity, NaN at 0x7F and 0xFF, largest 448.
float e4m3_to_f32(uint8_t code);
// Round to nearest even, saturating at ±448; the sign of zero is kept; NaN gives 0x7F with the
// sign.
uint8_t f32_to_e4m3(float value);

}  // namespace wingspan
