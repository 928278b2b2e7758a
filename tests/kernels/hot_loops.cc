// Runs one hot loop with fixed inputs, for counting its instructions (scripts/instructions.sh).
// usage: hot_loops bf16_none|fp8_none|bf16_decode|bf16_prefill|fp8_decode
#include <cstdio>
#include <string>
#include <vector>

#include "base/fpmode.h"
#include "kernels/kernels.h"

namespace wingspan {
namespace {

// The expert of a layer with hidden 1024, width 256; with 0 rows all but the products.
int run(DType dtype, int64_t rows) {
  constexpr int64_t kHidden = 1024, kWidth = 256;
  const FlushSubnormals mode;
  const Kernels& kernels = **choose_kernels("portable");
  const std::vector<std::byte> values(kHidden * kWidth * 2, std::byte{0x3c});
  const std::vector<float> scales(fp8_blocks(kHidden) * fp8_blocks(kWidth), 0.5F);
  const float* s = dtype == DType::kF8E4M3 ? scales.data() : nullptr;
  const PackedGateUp gate_up =
      pack_gate_up(dtype, kWidth, kHidden, values.data(), s, values.data(), s);
  const PackedWeight down = pack_weight(dtype, kHidden, kWidth, values.data(), s);
  const std::vector<std::byte> x(64 * kHidden * 2, std::byte{0x3f});
  std::vector<float> act(64 * kWidth), y(64 * kHidden);
  const Rows in{DType::kBF16, x.data(), kHidden * 2, nullptr, 0, rows, kHidden};
  const Rows half{DType::kBF16, x.data(), kHidden * 2, nullptr, 0, rows, kWidth};
  kernels.gate_up({in, &gate_up, act.data(), kWidth, 0, gate_up.panels()});
  kernels.linear({half, &down, y.data(), kHidden, 0, down.panels()});
  return y[0] < 0 ? 1 : 0;
}

}  // namespace
}  // namespace wingspan

int main(int argc, char** argv) {
  using wingspan::DType;
  const std::string name = argc == 2 ? argv[1] : "";
  if (name == "bf16_none") return wingspan::run(DType::kBF16, 0);
  if (name == "fp8_none") return wingspan::run(DType::kF8E4M3, 0);
  if (name == "bf16_decode") return wingspan::run(DType::kBF16, 1);
  if (name == "bf16_prefill") return wingspan::run(DType::kBF16, 36);
  if (name == "fp8_decode") return wingspan::run(DType::kF8E4M3, 2);
  std::fprintf(stderr, "usage: hot_loops bf16_none|fp8_none|bf16_decode|bf16_prefill|fp8_decode\n");
  return 2;
}
