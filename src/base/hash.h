// A 64-bit hash of numbers, the same on every machine. Not for secrets: equal hashes are compared
// further wherever a difference would matter.
#pragma once

#include <cstdint>

namespace wingspan {

inline constexpr uint64_t kHashSeed = 0x9E3779B97F4A7C15ULL;

// Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
inline uint64_t hash_mix(uint64_t hash, uint64_t value) {
  uint64_t x = hash * 0x9E3779B97F4A7C15ULL + value + 1;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace wingspan
