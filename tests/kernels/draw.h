// Random inputs of kernel tests, and the comparison of outputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace wingspan {

// Numbers that kernels meet and mishandle, among ordinary ones.
inline float draw(Rng& rng, bool special) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kSpecial[] = {0.0F,    -0.0F,  1e-39F,
                                -3e-42F, 3e38F,  -1e-20F,
                                1.0F,    kInf,   std::numeric_limits<float>::quiet_NaN(),
                                -kInf,   448.0F, 1e4F};
  if (special && rng.below(40) == 0) return kSpecial[rng.below(12)];
  const auto power = static_cast<int>(rng.below(9)) - 4;
  return static_cast<float>(std::ldexp(rng.normal(), power));
}

inline std::vector<float> draw_many(Rng& rng, int64_t n, bool special) {
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = draw(rng, special);
  return out;
}

// Equal bits, or both NaN (which NaN is not part of the contract).
inline int64_t differing(const std::vector<float>& a, const std::vector<float>& b) {
  int64_t n = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    n += std::memcmp(&a[i], &b[i], sizeof(float)) != 0;
  }
  return n;
}

}  // namespace wingspan
