#include <cmath>

#include "kernels/norm.h"
#include "kernels/numerics.h"

namespace wingspan {

void rms_norm_ref(const NormArgs& a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    const float* x = a.x + r * a.x_stride;
    float* y = a.y + r * a.y_stride;
    float lanes[kLanes] = {};
    for (int64_t i = 0; i < a.cols; ++i) {
      lanes[i % kLanes] = std::fma(x[i], x[i], lanes[i % kLanes]);
    }
    const float mean = fold16(lanes) / static_cast<float>(a.cols);
    const float inverse = 1.0F / std::sqrt(mean + a.eps);
    for (int64_t i = 0; i < a.cols; ++i) y[i] = (x[i] * inverse) * a.weight[i];
  }
}

}  // namespace wingspan
