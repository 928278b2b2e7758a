// The kernel kinds and the table that a forward pass calls through. The kind is chosen once at
// start.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/combine.h"
#include "kernels/linear.h"
#include "kernels/mla_attention.h"
#include "kernels/narrow.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/softmax.h"

namespace wingspan {

struct Kernels {
  const char* name = "";     // "reference", "portable", "avx512"
  const char* variant = "";  // what the CPU decided: "x86-64-v3", "baseline", …
  void (*linear)(const LinearArgs&) = nullptr;
  void (*gate_up)(const GateUpArgs&) = nullptr;
  void (*rms_norm)(const NormArgs&) = nullptr;
  void (*mla_attention)(const MlaAttentionArgs&) = nullptr;
  void (*softmax)(const float*, int64_t, float*) = nullptr;
  LogSumExp (*log_sum_exp)(const float*, int64_t) = nullptr;
  void (*combine)(const float* const*, const float*, int, int64_t, float*) = nullptr;
  // probe.h; what they return only keeps the work from being left out.
  float (*probe_fma)(int64_t rounds) = nullptr;
  float (*probe_read)(const float* x, int64_t n) = nullptr;
  // The peak for BF16 rows and weights, and the operations of one of its rounds.
  float (*probe_bf16)(int64_t rounds) = nullptr;
  int64_t probe_bf16_flops = 0;
  void (*sigmoid)(const float*, int64_t, float*) = nullptr;
  void (*rope)(float*, const float*, const float*, int) = nullptr;
  void (*narrow_bf16)(const float*, int64_t, uint16_t*) = nullptr;
  void (*round_bf16)(float*, int64_t) = nullptr;
};

// Names that choose_kernels accepts on this machine, "auto" first.
std::vector<std::string> kernel_names();
// "auto" picks the fastest that this CPU has. Errors (kInvalidInput): unknown name, or the CPU
// lacks what it needs.
Expected<const Kernels*> choose_kernels(std::string_view name);
// CPU features that matter to kernels, for --version: "avx2 fma avx512f avx512bf16 …".
std::string cpu_features();

// Every table that this CPU can run, all portable variants included; for tests and benchmarks.
std::vector<const Kernels*> all_kernels();

}  // namespace wingspan
