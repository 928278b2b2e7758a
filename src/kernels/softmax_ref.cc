#include <cmath>
#include <limits>

#include "kernels/numerics.h"
#include "kernels/softmax.h"

namespace wingspan {

LogSumExp log_sum_exp_ref(const float* x, int64_t n) {
  float top = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % kLanes] += exp_contract(x[i] - top);
  return {top, fold16(lanes)};
}

void softmax_ref(const float* x, int64_t n, float* p) {
  const LogSumExp s = log_sum_exp_ref(x, n);
  for (int64_t i = 0; i < n; ++i) p[i] = exp_contract(x[i] - s.max) / s.sum;
}

void sigmoid_ref(const float* x, int64_t n, float* p) {
  for (int64_t i = 0; i < n; ++i) p[i] = sigmoid_contract(x[i]);
}

}  // namespace wingspan
