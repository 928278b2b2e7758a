// Portable kernels of every instruction set that this CPU has, against the reference, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/fpmode.h"
#include "base/rng.h"
#include "kernels/kernels.h"

namespace wingspan {
namespace {

// Numbers that kernels meet and mishandle, among ordinary ones.
float draw(Rng& rng, bool special) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kSpecial[] = {0.0F,    -0.0F,  1e-39F,
                                -3e-42F, 3e38F,  -1e-20F,
                                1.0F,    kInf,   std::numeric_limits<float>::quiet_NaN(),
                                -kInf,   448.0F, 1e4F};
  if (special && rng.below(40) == 0) return kSpecial[rng.below(12)];
  const auto power = static_cast<int>(rng.below(9)) - 4;
  return static_cast<float>(std::ldexp(rng.normal(), power));
}

std::vector<float> draw_many(Rng& rng, int64_t n, bool special) {
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = draw(rng, special);
  return out;
}

// Equal bits, or both NaN (which NaN is not part of the contract).
int64_t differing(const std::vector<float>& a, const std::vector<float>& b) {
  int64_t n = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    n += std::memcmp(&a[i], &b[i], sizeof(float)) != 0;
  }
  return n;
}

class Variants : public ::testing::TestWithParam<const Kernels*> {
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

TEST_P(Variants, LinearAndGateUpOverShapes) {
  constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF8E4M3};
  for (uint64_t seed = 100; seed < 190; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    const DType dtype = kTypes[seed % 3];
    const bool special = rng.below(3) == 0;
    const auto rows = static_cast<int64_t>(1 + rng.below(19));
    const auto n = static_cast<int64_t>(1 + rng.below(150));
    const auto k = static_cast<int64_t>(1 + rng.below(300));
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

TEST_P(Variants, RowwiseOps) {
  for (uint64_t seed = 1; seed < 120; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    const auto n = static_cast<int64_t>(1 + rng.below(200));
    const auto rows = static_cast<int64_t>(1 + rng.below(5));
    const bool special = seed % 4 == 0;
    const auto x = draw_many(rng, rows * n, special);
    const auto weight = draw_many(rng, n, false);
    std::vector<float> want(x.size()), got(x.size());
    ref().rms_norm({x.data(), n, weight.data(), 1e-6F, want.data(), n, rows, n});
    fast().rms_norm({x.data(), n, weight.data(), 1e-6F, got.data(), n, rows, n});
    EXPECT_EQ(differing(want, got), 0) << "rms_norm";

    ref().softmax(x.data(), n, want.data());
    fast().softmax(x.data(), n, got.data());
    EXPECT_EQ(differing(want, got), 0) << "softmax";
    const LogSumExp a = ref().log_sum_exp(x.data(), n), b = fast().log_sum_exp(x.data(), n);
    EXPECT_EQ(differing({a.max, a.sum}, {b.max, b.sum}), 0) << "log_sum_exp";

    std::vector<const float*> pointers;
    for (int64_t r = 0; r < rows; ++r) pointers.push_back(x.data() + r * n);
    const auto w = draw_many(rng, rows, false);
    std::vector<float> sum_want(static_cast<size_t>(n)), sum_got = sum_want;
    ref().combine(pointers.data(), w.data(), static_cast<int>(rows), n, sum_want.data());
    fast().combine(pointers.data(), w.data(), static_cast<int>(rows), n, sum_got.data());
    EXPECT_EQ(differing(sum_want, sum_got), 0) << "combine";
  }
}

TEST_P(Variants, MlaAttention) {
  for (uint64_t seed = 1; seed < 40; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    MlaAttentionArgs a;
    a.latent = static_cast<int64_t>(1 + rng.below(170));
    a.rope = static_cast<int64_t>(2 + 2 * rng.below(20));
    a.heads = 1 + static_cast<int>(rng.below(15));
    a.rows = static_cast<int64_t>(1 + rng.below(5));
    a.positions = static_cast<int64_t>(1 + rng.below(200));
    a.kv_dtype = seed % 2 == 0 ? DType::kF32 : DType::kBF16;
    a.scale = 0.1F;
    const int64_t stride = mla_kv_stride(a.latent, a.rope);
    a.q_stride = stride;
    a.out_stride = a.latent;
    const int64_t last = a.positions + a.rows - 1;
    std::vector<std::vector<float>> blocks(static_cast<size_t>((last + 63) / 64));
    std::vector<const std::byte*> pointers;
    for (auto& block : blocks) {
      block = draw_many(rng, kKvBlock * stride, false);
      auto* half = reinterpret_cast<uint16_t*>(block.data());
      for (int64_t i = 0; a.kv_dtype == DType::kBF16 && i < kKvBlock * stride; ++i) {
        half[i] = f32_to_bf16(static_cast<float>(rng.normal()));
      }
      pointers.push_back(reinterpret_cast<const std::byte*>(block.data()));
    }
    // What lies beyond the last position must not matter.
    for (int64_t t = last; t < static_cast<int64_t>(blocks.size()) * kKvBlock; ++t) {
      std::byte* row = reinterpret_cast<std::byte*>(blocks.back().data()) +
                       t % kKvBlock * stride * dtype_size(a.kv_dtype);
      std::memset(row, 0xff, static_cast<size_t>(stride * dtype_size(a.kv_dtype)));
    }
    auto q = draw_many(rng, a.rows * a.heads * stride, false);
    for (int64_t h = 0; h < a.rows * a.heads; ++h) {
      for (int64_t i = 0; i < stride; ++i) {
        float& v = q[static_cast<size_t>(h * stride + i)];
        if (i >= a.latent + a.rope) v = 0;
        if (a.kv_dtype == DType::kBF16) v = bf16_to_f32(f32_to_bf16(v));
      }
    }
    a.q = q.data();
    a.q_row_stride = a.heads * stride;
    a.out_row_stride = a.heads * a.latent;
    a.blocks = pointers.data();
    std::vector<float> want(static_cast<size_t>(a.rows * a.heads * a.latent)), got = want;
    a.out = want.data();
    ref().mla_attention(a);
    a.out = got.data();
    fast().mla_attention(a);
    EXPECT_EQ(differing(want, got), 0) << "rows " << a.rows << ", heads " << a.heads;

    // A row alone gives the bits that it gives in a chunk.
    const auto row = static_cast<int64_t>(rng.below(static_cast<uint64_t>(a.rows)));
    std::vector<float> alone(static_cast<size_t>(a.out_row_stride));
    MlaAttentionArgs one = a;
    one.q += row * a.q_row_stride;
    one.positions += row;
    one.rows = 1;
    one.out = alone.data();
    fast().mla_attention(one);
    const std::vector<float> among(got.begin() + row * a.out_row_stride,
                                   got.begin() + (row + 1) * a.out_row_stride);
    EXPECT_EQ(differing(among, alone), 0) << "row " << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Variants, ::testing::ValuesIn(all_kernels()), [](const auto& param) {
  std::string name = std::string(param.param->name) + "_" + param.param->variant;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

}  // namespace
}  // namespace wingspan
