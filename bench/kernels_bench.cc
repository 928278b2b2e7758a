// One GEMM by every kernel kind of this CPU, on one thread, beside that kind's own limit: the
// larger of weight bytes ÷ read bandwidth and operations ÷ peak. Weights are cold. What limits the
// layer as a whole is in moe_bench.cc.
#include <cstring>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/fpmode.h"
#include "base/rng.h"
#include "kernels/machine_probe.h"
#include "support/measure.h"

namespace wingspan::bench {
namespace {

constexpr int64_t kHidden = 2048, kColumns = 1536;
constexpr int kCopies = 16;  // 100 MB of BF16

std::vector<PackedWeight> make_weights(DType dtype) {
  Rng rng(1);
  std::vector<std::byte> values(static_cast<size_t>(kHidden * kColumns * dtype_size(dtype)));
  for (int64_t i = 0; i < kHidden * kColumns; ++i) {
    const auto v = static_cast<float>(rng.normal());
    if (dtype == DType::kF32) {
      std::memcpy(&values[static_cast<size_t>(i) * 4], &v, 4);
    } else if (dtype == DType::kBF16) {
      const uint16_t b = f32_to_bf16(v);
      std::memcpy(&values[static_cast<size_t>(i) * 2], &b, 2);
    } else {
      values[static_cast<size_t>(i)] = static_cast<std::byte>(f32_to_e4m3(v));
    }
  }
  const std::vector<float> scales(static_cast<size_t>(fp8_blocks(kColumns) * fp8_blocks(kHidden)),
                                  0.5F);
  std::vector<PackedWeight> out;
  for (int i = 0; i < kCopies; ++i) {
    out.push_back(pack_weight(dtype, kColumns, kHidden, values.data(),
                              dtype == DType::kF8E4M3 ? scales.data() : nullptr));
  }
  return out;
}

void run(const Options& options, const Kernels& kernels, DType dtype,
         const std::vector<PackedWeight>& weights, MachineProbe& probe) {
  for (const int64_t rows : {1, 4, 16, 64}) {
    const std::vector<uint16_t> x(static_cast<size_t>(rows * kHidden), 0x3F80);
    std::vector<float> y(static_cast<size_t>(rows * kColumns));
    const Rows in{
        DType::kBF16, reinterpret_cast<const std::byte*>(x.data()), kHidden * 2, nullptr, 0, rows,
        kHidden};
    Record r;
    r.name = "gemm";
    r.params = {{"rows", rows},
                {"hidden", kHidden},
                {"columns", kColumns},
                {"kernel", kernels.name},
                {"variant", kernels.variant},
                {"threads", 1},
                {"weights", std::string(dtype_name(dtype))}};
    r.metric = "time_ms";
    for (int round = -1; round < options.rounds; ++round) {
      probe.measure();
      const int64_t begin = system_clock().now_ns();
      for (const PackedWeight& w : weights) {
        kernels.linear({in, &w, y.data(), kColumns, 0, w.panels()});
      }
      const double s = seconds(begin, system_clock().now_ns()) / kCopies;
      if (round < 0) continue;
      const double limit = std::max(
          static_cast<double>(weights[0].bytes()) / probe.speeds().read_bytes_per_s,
          static_cast<double>(2 * rows * kHidden * kColumns) / probe.speeds().bf16_flops_per_s);
      r.values.push_back(s * 1e3);
      r.limits.push_back(limit * 1e3);
      r.ratios.push_back(limit / s);
    }
    report(options, r);
  }
}

int main_of(int argc, char** argv) {
  const Options options = parse_options(
      argc, argv, "A GEMM by every kernel kind beside that kind's limit, one thread.");
  const FlushSubnormals mode;
  Pool one(1);
  for (const DType dtype : {DType::kBF16, DType::kF8E4M3, DType::kF32}) {
    const std::vector<PackedWeight> weights = make_weights(dtype);
    for (const Kernels* kernels : all_kernels()) {
      const std::string name = kernels->variant;
      // Slow ones are measured where they are asked for.
      const bool slow = name == "scalar" || name == "baseline";
      if (options.only.empty() ? slow : name.find(options.only) == std::string::npos) continue;
      MachineProbe probe(*kernels, one);
      run(options, *kernels, dtype, weights, probe);
    }
  }
  return 0;
}

}  // namespace
}  // namespace wingspan::bench

int main(int argc, char** argv) { return wingspan::bench::main_of(argc, argv); }
