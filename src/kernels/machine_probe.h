// Read bandwidth and peak arithmetic of this machine, at the moment of each call: on shared
// machines both change by the second, so a sample is compared with a probe beside it.
#pragma once

#include "base/pool.h"
#include "kernels/kernels.h"
#include "tensor/buffer.h"

namespace wingspan {

// All threads together.
struct MachineSpeeds {
  double read_bytes_per_s = 0;  // from memory
  double f32_flops_per_s = 0;   // fused multiply-adds
  double bf16_flops_per_s = 0;  // BF16 rows and weights, as the kernels multiply them
};

class MachineProbe {
 public:
  // Holds 128 MiB a thread of the pool.
  MachineProbe(const Kernels& kernels, Pool& pool);
  // Some 20 ms.
  void measure();
  const MachineSpeeds& speeds() const { return speeds_; }  // as last measured

 private:
  double peak(float (*probe)(int64_t), int64_t flops_per_round);

  const Kernels& kernels_;
  Pool& pool_;
  Buffer memory_;
  MachineSpeeds speeds_;
};

}  // namespace wingspan
