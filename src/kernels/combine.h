// The weighted sum of a token's expert outputs, in ascending top-k position.
#pragma once

#include <cstdint>

namespace wingspan {

// out[c] = acc: acc = 0, then acc = fma(weights[j], rows[j][c], acc) for j = 0 … count − 1.
void combine_ref(const float* const* rows, const float* weights, int count, int64_t cols,
                 float* out);
}  // namespace wingspan
