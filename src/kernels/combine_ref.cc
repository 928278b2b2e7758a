#include "kernels/combine.h"

#include <cmath>

namespace wingspan {

void combine_ref(const float* const* rows, const float* weights, int count, int64_t cols,
                 float* out) {
  for (int64_t c = 0; c < cols; ++c) {
    float acc = 0;
    for (int j = 0; j < count; ++j) acc = std::fma(weights[j], rows[j][c], acc);
    out[c] = acc;
  }
}

}  // namespace wingspan
