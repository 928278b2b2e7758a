#include "tensor/dtype.h"

#include <array>
#include <cmath>

namespace wingspan {
namespace {

struct Entry {
  DType dtype;
  std::string_view name;
  int size;
};
constexpr Entry kTypes[] = {
    {DType::kF32, "F32", 4}, {DType::kF16, "F16", 2},        {DType::kBF16, "BF16", 2},
    {DType::kF64, "F64", 8}, {DType::kF8E4M3, "F8_E4M3", 1}, {DType::kF8E5M2, "F8_E5M2", 1},
    {DType::kI8, "I8", 1},   {DType::kI16, "I16", 2},        {DType::kI32, "I32", 4},
    {DType::kI64, "I64", 8}, {DType::kU8, "U8", 1},          {DType::kU16, "U16", 2},
    {DType::kU32, "U32", 4}, {DType::kU64, "U64", 8},        {DType::kBool, "BOOL", 1},
};

float decode_e4m3(int code) {
  const int exponent = (code >> 3) & 15, mantissa = code & 7;
  if (exponent == 15 && mantissa == 7)
    return std::bit_cast<float>(0x7fc00000U | (code & 128 ? 0x80000000U : 0U));
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return code & 128 ? -magnitude : magnitude;
}

}  // namespace

int dtype_size(DType dtype) {
  for (const Entry& e : kTypes) {
    if (e.dtype == dtype) return e.size;
  }
  return 0;
}

std::string_view dtype_name(DType dtype) {
  for (const Entry& e : kTypes) {
    if (e.dtype == dtype) return e.name;
  }
  return "?";
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const Entry& e : kTypes) {
    if (e.name == name) return e.dtype;
  }
  return std::nullopt;
}

float e4m3_to_f32(uint8_t code) {
  static const auto table = [] {
    std::array<float, 256> t{};
    for (int i = 0; i < 256; ++i) t[static_cast<size_t>(i)] = decode_e4m3(i);
    return t;
  }();
  return table[code];
}

uint8_t f32_to_e4m3(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint8_t>(bits >> 24 & 0x80U);
  const uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<uint8_t>(sign | 0x7fU);
  if (magnitude >= 0x43e00000U) return static_cast<uint8_t>(sign | 0x7eU);  // 448 and above
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  if (exponent < -6) {  // subnormal in e4m3: steps of 2^-9; integer arithmetic, whatever the mode
    const int shift = -9 - exponent + 23;  // mantissa with hidden bit >> shift
    if (shift > 25) return sign;
    const uint32_t m = (magnitude & 0x7fffffU) | 0x800000U;
    const uint32_t kept = m >> shift, rest = m & ((1U << shift) - 1), half = 1U << (shift - 1);
    return static_cast<uint8_t>(sign | (kept + (rest > half || (rest == half && (kept & 1U)))));
  }
  const uint32_t rounded = magnitude + 0x7ffffU + (magnitude >> 20 & 1U);
  const uint32_t code = (rounded >> 20) - (120U << 3);
  return static_cast<uint8_t>(sign | (code > 0x7eU ? 0x7eU : code));
}

}  // namespace wingspan
