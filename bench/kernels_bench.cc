// An MoE layer's expert products by themselves: gate·up and down of cold experts with few and many
// rows, for each kernel kind, one thread. bytes/s are weight bytes; FLOP/s beside the probe's peak
// of the same kind.
#include <benchmark/benchmark.h>

#include <fmt/format.h>

#include "base/fpmode.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/probe.h"

namespace wingspan {
namespace {

constexpr int64_t kHidden = 2048, kWidth = 768;
constexpr int kExperts = 64;  // 600 MB of BF16: beyond any cache

struct Layer {
  std::vector<PackedGateUp> gate_up;
  std::vector<PackedWeight> down;
};

const Layer& layer() {
  static const Layer made = [] {
    Layer l;
    Rng rng(1);
    std::vector<uint16_t> weights(static_cast<size_t>(kHidden * kWidth));
    for (uint16_t& w : weights) {
      w = static_cast<uint16_t>(0x3C00 + rng.below(512) + (rng.below(2) << 15U));
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(weights.data());
    for (int e = 0; e < kExperts; ++e) {
      l.gate_up.push_back(
          pack_gate_up(DType::kBF16, kWidth, kHidden, bytes, nullptr, bytes, nullptr));
      l.down.push_back(pack_weight(DType::kBF16, kHidden, kWidth, bytes, nullptr));
    }
    return l;
  }();
  return made;
}

void experts(benchmark::State& state, const Kernels& kernels) {
  const FlushSubnormals mode;
  const int64_t rows = state.range(0);
  const Layer& l = layer();
  std::vector<uint16_t> x(static_cast<size_t>(rows * kHidden), 0x3F80);
  std::vector<float> mid(static_cast<size_t>(rows * kWidth)),
      y(static_cast<size_t>(rows * kHidden));
  Rows in{DType::kBF16, reinterpret_cast<const std::byte*>(x.data()), kHidden * 2, nullptr, 0, rows,
          kHidden};
  Rows half = in;
  half.cols = kWidth;
  size_t e = 0;
  for (auto _ : state) {
    kernels.gate_up({in, &l.gate_up[e], mid.data(), kWidth, 0, l.gate_up[e].panels()});
    kernels.linear({half, &l.down[e], y.data(), kHidden, 0, l.down[e].panels()});
    e = (e + 1) % kExperts;
    benchmark::DoNotOptimize(y.data());
  }
  const int64_t bytes = l.gate_up[0].bytes() + l.down[0].bytes();
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["FLOP/s"] = benchmark::Counter(
      static_cast<double>(state.iterations() * bytes * rows), benchmark::Counter::kIsRate);
}

void read_probe(benchmark::State& state, const Kernels& kernels) {
  std::vector<float> memory(size_t{1} << 26, 1.0F);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        kernels.probe_read(memory.data(), static_cast<int64_t>(memory.size())));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(memory.size() * 4));
}

void fma_probe(benchmark::State& state, const Kernels& kernels) {
  for (auto _ : state) benchmark::DoNotOptimize(kernels.probe_fma(100'000));
  state.counters["FLOP/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * 100'000 * kProbeFmaFlops),
                         benchmark::Counter::kIsRate);
}

const bool registered = [] {
  for (const Kernels* k : all_kernels()) {
    const std::string name = fmt::format("{}({})", k->name, k->variant);
    if (std::string(k->name) == "reference") continue;
    benchmark::RegisterBenchmark(("ReadProbe/" + name).c_str(), read_probe, *k);
    benchmark::RegisterBenchmark(("FmaProbe/" + name).c_str(), fma_probe, *k);
    benchmark::RegisterBenchmark(("Expert/" + name).c_str(), experts, *k)
        ->Arg(1)
        ->Arg(4)
        ->Arg(16)
        ->Arg(64)
        ->Arg(256)
        ->Unit(benchmark::kMicrosecond);
  }
  return true;
}();

}  // namespace
}  // namespace wingspan
