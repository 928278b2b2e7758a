#include "kernels/machine_probe.h"

#include <algorithm>
#include <atomic>

#include "base/clock.h"
#include "kernels/probe.h"

namespace wingspan {
namespace {

constexpr int64_t kThreadFloats = int64_t{1} << 25;  // beyond a core's share of any cache
// Threads take pieces in turns, as the products do.
constexpr int64_t kPieces = 64;
constexpr int64_t kRounds = 200'000;  // of a piece

}  // namespace

MachineProbe::MachineProbe(const Kernels& kernels, Pool& pool)
    : kernels_(kernels),
      pool_(pool),
      memory_(static_cast<size_t>(kThreadFloats * pool.threads()) * sizeof(float)) {
  auto* floats = memory_.as<float>();
  pool_.run(pool_.threads(), [&](int64_t t) {
    std::fill(floats + t * kThreadFloats, floats + (t + 1) * kThreadFloats, 1.0F);
  });
}

double MachineProbe::peak(float (*probe)(int64_t), int64_t flops_per_round) {
  std::atomic<float> kept{0};
  const int64_t turns = int64_t{16} * pool_.threads(), begin = system_clock().now_ns();
  pool_.run(turns, [&](int64_t) { kept.store(probe(kRounds), std::memory_order_relaxed); });
  return static_cast<double>(turns * kRounds * flops_per_round) /
         seconds(begin, system_clock().now_ns());
}

void MachineProbe::measure() {
  std::atomic<float> kept{0};
  const auto* floats = memory_.as<float>();
  const int64_t pieces = kPieces * pool_.threads(), length = kThreadFloats / kPieces;
  const int64_t begin = system_clock().now_ns();
  pool_.run(pieces, [&](int64_t i) {
    kept.store(kernels_.probe_read(floats + i * length, length), std::memory_order_relaxed);
  });
  speeds_.read_bytes_per_s =
      static_cast<double>(memory_.size()) / seconds(begin, system_clock().now_ns());
  speeds_.f32_flops_per_s = peak(kernels_.probe_fma, kProbeFmaFlops);
  speeds_.bf16_flops_per_s = kernels_.probe_bf16 == kernels_.probe_fma
                                 ? speeds_.f32_flops_per_s
                                 : peak(kernels_.probe_bf16, kernels_.probe_bf16_flops);
}

}  // namespace wingspan
