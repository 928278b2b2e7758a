// Float32 GEMM of hot weights beside libxsmm, one thread, interleaved: an expert's gate·up of
// hidden 2048. BF16 is not compared: libxsmm 1.17 has it for CPUs with AVX-512 only.
#include <libxsmm.h>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/fpmode.h"
#include "kernels/kernels.h"
#include "support/measure.h"

namespace wingspan::bench {
namespace {

constexpr int kHidden = 2048, kColumns = 64;

int main_of(int argc, char** argv) {
  const Options options = parse_options(argc, argv, "Float32 GEMM beside libxsmm's.");
  const auto kernels = choose_kernels(options.kernel);
  if (!kernels) {
    fmt::print(stderr, "{}\n", kernels.error().message());
    return 2;
  }
  const FlushSubnormals mode;
  const std::vector<float> w(kHidden * kColumns, 0.5F);
  const PackedWeight packed = pack_weight(DType::kF32, kColumns, kHidden,
                                          reinterpret_cast<const std::byte*>(w.data()), nullptr);
  for (const int rows : {1, 6, 16, 64}) {
    const std::vector<float> x(static_cast<size_t>(rows) * kHidden, 0.25F);
    std::vector<float> y(static_cast<size_t>(rows) * kColumns);
    const float alpha = 1, beta = 0;
    const auto theirs = libxsmm_smmdispatch(kColumns, rows, kHidden, nullptr, nullptr, nullptr,
                                            &alpha, &beta, nullptr, nullptr);
    if (theirs == nullptr) continue;
    const Rows in{
        DType::kF32, reinterpret_cast<const std::byte*>(x.data()), kHidden * 4, nullptr, 0, rows,
        kHidden};
    const auto us = [](const auto& work) {
      const int64_t begin = system_clock().now_ns();
      for (int i = 0; i < 20; ++i) work();
      return seconds(begin, system_clock().now_ns()) * 1e6 / 20;
    };
    Record r;
    r.name = "gemm_f32_libxsmm";
    r.params = {{"rows", rows},
                {"hidden", kHidden},
                {"columns", kColumns},
                {"variant", (*kernels)->variant}};
    r.metric = "time_us";
    for (int round = -1; round < 8 * options.rounds; ++round) {
      const double ours = us([&] {
        (*kernels)->linear({in, &packed, y.data(), kColumns, 0, packed.panels()});
      });
      const double other = us([&] { theirs(w.data(), x.data(), y.data()); });
      if (round < 0) continue;
      r.values.push_back(ours);
      r.limits.push_back(other);
      r.ratios.push_back(other / ours);
    }
    report(options, r);
  }
  return 0;
}

}  // namespace
}  // namespace wingspan::bench

int main(int argc, char** argv) { return wingspan::bench::main_of(argc, argv); }
