// The portable kernels, compiled once for each instruction set in a namespace of its own
// (cmake/kernels.cmake).
#pragma once

#include "kernels/combine.h"
#include "kernels/linear.h"
#include "kernels/mla_attention.h"
#include "kernels/narrow.h"
#include "kernels/norm.h"
#include "kernels/softmax.h"

#define WINGSPAN_DECLARE_PORTABLE(isa)                                                  \
  namespace wingspan::isa {                                                             \
  void linear(const LinearArgs& args);                                                  \
  void gate_up(const GateUpArgs& args);                                                 \
  void rms_norm(const NormArgs& args);                                                  \
  void mla_attention(const MlaAttentionArgs& args);                                     \
  void softmax(const float* x, int64_t n, float* p);                                    \
  LogSumExp log_sum_exp(const float* x, int64_t n);                                     \
  void combine(const float* const* rows, const float* weights, int count, int64_t cols, \
               float* out);                                                             \
  void sigmoid(const float* x, int64_t n, float* p);                                    \
  void rope(float* x, const float* cos, const float* sin, int dim);                     \
  void narrow_bf16(const float* x, int64_t n, uint16_t* y);                             \
  void round_bf16(float* x, int64_t n);                                                 \
  float probe_fma(int64_t rounds);                                                      \
  float probe_read(const float* x, int64_t n);                                          \
  }

WINGSPAN_DECLARE_PORTABLE(baseline)
#if defined(__x86_64__)
WINGSPAN_DECLARE_PORTABLE(v3)
WINGSPAN_DECLARE_PORTABLE(v4)
#endif
