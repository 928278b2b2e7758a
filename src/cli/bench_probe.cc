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
  const auto fma = [&] {
    pool.run(threads, [&](int64_t) { kept.store(kernels.probe_fma(kFmaRounds)); });
  };
  fma();
  probe.peak_gflop_s =
      static_cast<double>(kFmaRounds * kProbeFmaFlops) * threads / median_seconds(fma) * 1e-9;
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
