// GEMM kernels of every kind against the reference, bit for bit: the kinds that this CPU has, and
// the avx512 source over emulated instructions.
#include "kernels/linear.h"

#include <gtest/gtest.h>

#include "base/fpmode.h"
#include "draw.h"
#include "emulated/emulated.h"
#include "kernels/kernels.h"

namespace wingspan {
namespace {

class LinearVariants : public ::testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& ref() const { return **choose_kernels("reference"); }
  const Kernels& fast() const { return *GetParam(); }
  FlushSubnormals mode_;
};

struct Weights {
  std::vector<std::byte> bytes;
  std::vector<float> scales;
  const float* scale_data() const { return scales.empty() ? nullptr : scales.data(); }
};

Weights draw_weights(Rng& rng, DType dtype, int64_t n, int64_t k, bool special) {
  Weights w;
  w.bytes.resize(static_cast<size_t>(n * k * dtype_size(dtype)));
  for (int64_t i = 0; i < n * k; ++i) {
    const float v = draw(rng, special);
    if (dtype == DType::kF32) {
      std::memcpy(&w.bytes[static_cast<size_t>(i) * 4], &v, 4);
    } else if (dtype == DType::kBF16) {
      const uint16_t b = f32_to_bf16(v);
      std::memcpy(&w.bytes[static_cast<size_t>(i) * 2], &b, 2);
    } else {
      // Every code but the NaNs, unless special values are wanted.
      auto code = static_cast<uint8_t>(rng.below(256));
      if (!special && (code & 0x7f) == 0x7f) code = 0x7e;
      w.bytes[static_cast<size_t>(i)] = static_cast<std::byte>(code);
    }
  }
  if (dtype == DType::kF8E4M3) {
    w.scales = draw_many(rng, fp8_blocks(n) * fp8_blocks(k), false);
  }
  return w;
}

DType row_type(Rng& rng, DType weight) {
  constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF8E4M3};
  return kTypes[rng.below(weight == DType::kF8E4M3 ? 3 : 2)];
}

TEST_P(LinearVariants, OverShapes) {
  constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF8E4M3};
  for (uint64_t seed = 100; seed < 190; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    const DType dtype = kTypes[seed % 3];
    const bool special = rng.below(3) == 0;
    // A few with more rows than are packed at a time.
    const auto rows =
        static_cast<int64_t>(seed % 15 == 0 ? 190 + rng.below(20) : 1 + rng.below(19));
    const auto n = static_cast<int64_t>(1 + rng.below(rows > 100 ? 40 : 150));
    const auto k = static_cast<int64_t>(1 + rng.below(rows > 100 ? 140 : 300));
    const DType x_type = row_type(rng, dtype);
    const int64_t stride = (row_bytes(x_type, k) + 63) / 64 * 64;
    std::vector<std::byte> packed(static_cast<size_t>(rows * stride));
    const auto x = draw_many(rng, rows * k, special);
    pack_rows(x_type, x.data(), k, rows, k, packed.data(), stride);
    const Rows in = packed_rows(x_type, packed.data(), stride, rows, k);

    const Weights w = draw_weights(rng, dtype, n, k, special);
    const PackedWeight weight = pack_weight(dtype, n, k, w.bytes.data(), w.scale_data());
    std::vector<float> want(static_cast<size_t>(rows * n), -1), got = want;
    ref().linear({in, &weight, want.data(), n, 0, weight.panels()});
    const auto cut = static_cast<int64_t>(rng.below(static_cast<uint64_t>(weight.panels()) + 1));
    fast().linear({in, &weight, got.data(), n, 0, cut});
    fast().linear({in, &weight, got.data(), n, cut, weight.panels()});
    EXPECT_EQ(differing(want, got), 0)
        << "linear " << dtype_name(dtype) << " x " << dtype_name(x_type);

    const Weights up = draw_weights(rng, dtype, n, k, special);
    const PackedGateUp both =
        pack_gate_up(dtype, n, k, w.bytes.data(), w.scale_data(), up.bytes.data(), up.scale_data());
    ref().gate_up({in, &both, want.data(), n, 0, both.panels()});
    fast().gate_up({in, &both, got.data(), n, 0, cut});
    fast().gate_up({in, &both, got.data(), n, cut, both.panels()});
    EXPECT_EQ(differing(want, got), 0) << "gate_up " << dtype_name(dtype);

    // Rule 2: a row alone gives the bits that it gives among others.
    const auto row = static_cast<int64_t>(rng.below(static_cast<uint64_t>(rows)));
    std::vector<float> alone(static_cast<size_t>(n));
    fast().gate_up({packed_rows(x_type, packed.data() + row * stride, stride, 1, k), &both,
                    alone.data(), n, 0, both.panels()});
    const std::vector<float> among(got.begin() + row * n, got.begin() + (row + 1) * n);
    EXPECT_EQ(differing(among, alone), 0) << "row " << row;
  }
}

// Every code of FP8, with rows that a scaled product would overflow or flush.
TEST_P(LinearVariants, EveryFp8CodeAndExtremeRows) {
  constexpr int64_t kN = 256, kK = 4;
  std::vector<std::byte> codes(kN * kK);
  for (int64_t i = 0; i < kN * kK; ++i)
    codes[static_cast<size_t>(i)] = static_cast<std::byte>(i / 4);
  constexpr float kScales[] = {1.0F, 0.25F};
  constexpr float kRows[][kK] = {{1, 0, 0, 0},         {0, 1, 0, 0},          {3e38F, 0, 0, 0},
                                 {0, -2e38F, 0, 0},    {1.2e-38F, 0, 0, 0},   {0, 1e-39F, 0, 0},
                                 {2.4e-38F, 1, -1, 0}, {1e-30F, 2, 1e30F, -3}};
  for (const bool with_nan : {false, true}) {
    for (int64_t i = 0; !with_nan && i < kN * kK; ++i) {
      std::byte& c = codes[static_cast<size_t>(i)];
      if ((static_cast<int>(c) & 0x7f) == 0x7f) c = std::byte{0x7e};
    }
    if (with_nan) codes[0] = std::byte{0xff};
    const PackedWeight w = pack_weight(DType::kF8E4M3, kN, kK, codes.data(), kScales);
    EXPECT_EQ(w.nan_codes, with_nan);
    for (const auto& row : kRows) {
      for (const DType type : {DType::kF32, DType::kBF16}) {
        alignas(64) std::byte packed[64];
        pack_rows(type, row, kK, 1, kK, packed, 64);
        const Rows in = packed_rows(type, packed, 64, 1, kK);
        std::vector<float> want(kN), got(kN);
        ref().linear({in, &w, want.data(), kN, 0, w.panels()});
        fast().linear({in, &w, got.data(), kN, 0, w.panels()});
        EXPECT_EQ(differing(want, got), 0) << row[0] << " " << row[1] << " " << dtype_name(type);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, LinearVariants, ::testing::ValuesIn(tested_kernels()),
                         [](const auto& i) { return test_name(*i.param); });

}  // namespace
}  // namespace wingspan
