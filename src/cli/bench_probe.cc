#include "cli/bench_probe.h"

#include <algorithm>
#include <atomic>

#include "base/clock.h"
#include "base/pool.h"
#include "kernels/probe.h"
#include "tensor/buffer.h"

namespace wingspan {
namespace {

constexpr int kRounds = 5;
constexpr int64_t kReadFloats = int64_t{1} << 26;  // 256 MiB a thread: beyond any cache
constexpr int64_t kFmaRounds = 2'000'000;

template <class Work>
double median_seconds(const Work& work) {
  double s[kRounds];
  for (double& one : s) {
    const int64_t begin = system_clock().now_ns();
    work();
    one = seconds(begin, system_clock().now_ns());
  }
  std::sort(s, s + kRounds);
  return s[kRounds / 2];
}

}  // namespace

MachineProbe probe_machine(const Kernels& kernels, int threads) {
  MachineProbe probe;
  Pool pool(threads);
  std::atomic<float> kept{0};
  const auto peak = [&](float (*rounds)(int64_t), int64_t flops) {
    const auto work = [&] { pool.run(threads, [&](int64_t) { kept.store(rounds(kFmaRounds)); }); };
    work();
    return static_cast<double>(kFmaRounds * flops) * threads / median_seconds(work) * 1e-9;
  };
  probe.peak_gflop_s = peak(kernels.probe_fma, kProbeFmaFlops);
  probe.peak_bf16_gflop_s = kernels.probe_bf16 == kernels.probe_fma
                                ? probe.peak_gflop_s
                                : peak(kernels.probe_bf16, kernels.probe_bf16_flops);
  Buffer memory(static_cast<size_t>(kReadFloats * threads) * sizeof(float));
  auto* floats = memory.as<float>();
  pool.run(threads, [&](int64_t t) {
    std::fill(floats + t * kReadFloats, floats + (t + 1) * kReadFloats, 1.0F);
  });
  const auto read = [&] {
    pool.run(threads, [&](int64_t t) {
      kept.store(kernels.probe_read(floats + t * kReadFloats, kReadFloats));
    });
  };
  probe.read_gb_s =
      static_cast<double>(kReadFloats) * sizeof(float) * threads / median_seconds(read) * 1e-9;
  return probe;
}

}  // namespace wingspan
