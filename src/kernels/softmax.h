// Softmax, log-sum-exp and sigmoid of one row.
#pragma once

#include <cstdint>

namespace wingspan {

// p_i = exp(x_i − max) / Σ, the sum by 16 lanes and fold16. `p` may be `x`.
void softmax_ref(const float* x, int64_t n, float* p);

// max and Σ exp(x_i − max) (16 lanes, fold16): the log probability of token i is
// float((double(x_i) − max) − log_contract(sum)).
struct LogSumExp {
  float max = 0;
  float sum = 0;
};
LogSumExp log_sum_exp_ref(const float* x, int64_t n);

// p_i = 1 / (1 + exp(−x_i)). `p` may be `x`.
void sigmoid_ref(const float* x, int64_t n, float* p);

}  // namespace wingspan
