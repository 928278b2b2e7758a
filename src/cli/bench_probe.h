// Peak arithmetic and read bandwidth of this machine, with as many threads as a run has.
#pragma once

#include "kernels/kernels.h"

namespace wingspan {

struct MachineProbe {
  double read_gb_s = 0;          // decimal, all threads together, from memory
  double peak_gflop_s = 0;       // float32 fused multiply-adds, all threads together
  double peak_bf16_gflop_s = 0;  // BF16 rows and weights, as the kernels multiply them
};

// Some second. Medians of five rounds.
MachineProbe probe_machine(const Kernels& kernels, int threads);

}  // namespace wingspan
