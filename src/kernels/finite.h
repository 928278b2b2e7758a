// Whether numbers are finite: neither infinite nor NaN. Values are looked at as bits, in blocks
// whose length the compiler knows, so that it looks at several at a time.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace wingspan {

// `Bits` is the unsigned type of a value's width; values whose exponent is all ones are not finite.
template <class Bits, Bits kExponent>
bool all_finite_bits(const void* values, int64_t count) {
  constexpr int64_t kBlock = 64;
  const auto* bytes = static_cast<const char*>(values);
  Bits block[kBlock];
  for (int64_t i = 0; i < count; i += kBlock) {
    const int64_t n = count - i < kBlock ? count - i : kBlock;
    if (n < kBlock) std::memset(block, 0, sizeof(block));
    std::memcpy(block, bytes + i * static_cast<int64_t>(sizeof(Bits)),
                static_cast<size_t>(n) * sizeof(Bits));
    // Adding one to a full exponent carries into the bit of the sign.
    Bits any = 0;
    for (int64_t j = 0; j < kBlock; ++j) {
      const auto exponent = static_cast<Bits>(block[j] & kExponent);
      any = static_cast<Bits>(any | static_cast<Bits>(exponent + (kExponent & -kExponent)));
    }
    if (any > static_cast<Bits>(~Bits{0}) / 2) return false;
  }
  return true;
}

// Whether a norm of the row is finite too: the sum of its squares is.
inline bool has_norm(const float* x, int64_t count) {
  constexpr float kMost = 1e17F;  // 2^14 squares of it stay below 3.4e38
  int large = 0;
  for (int64_t i = 0; i < count; ++i) large |= static_cast<int>(!(x[i] < kMost && x[i] > -kMost));
  return large == 0;
}

inline bool all_finite(const float* x, int64_t count) {
  return all_finite_bits<uint32_t, 0x7F800000U>(x, count);
}
inline bool all_finite_bf16(const uint16_t* x, int64_t count) {
  return all_finite_bits<uint16_t, 0x7F80U>(x, count);
}
// FP8 E4M3 has no infinities; NaN is the code whose magnitude bits are all ones.
inline bool all_finite_e4m3(const uint8_t* x, int64_t count) {
  constexpr int64_t kBlock = 64;
  uint8_t block[kBlock];
  for (int64_t i = 0; i < count; i += kBlock) {
    const int64_t n = count - i < kBlock ? count - i : kBlock;
    if (n < kBlock) std::memset(block, 0, sizeof(block));
    std::memcpy(block, x + i, static_cast<size_t>(n));
    uint8_t any = 0;
    for (int64_t j = 0; j < kBlock; ++j) {
      any = static_cast<uint8_t>(any | static_cast<uint8_t>((block[j] & 0x7FU) + 1U));
    }
    if ((any & 0x80U) != 0) return false;
  }
  return true;
}

}  // namespace wingspan
