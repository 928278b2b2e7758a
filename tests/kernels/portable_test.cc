// Portable kernels of every instruction set that this CPU has, against the reference, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/fpmode.h"
#include "base/rng.h"
#include "draw.h"
#include "emulated/emulated.h"
#include "kernels/kernels.h"

namespace wingspan {
namespace {

class Variants : public ::testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& ref() const { return **choose_kernels("reference"); }
  const Kernels& fast() const { return *GetParam(); }
  FlushSubnormals mode_;
};

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

    ref().sigmoid(x.data(), n, want.data());
    fast().sigmoid(x.data(), n, got.data());
    EXPECT_EQ(differing(want, got), 0) << "sigmoid";
    std::vector<uint16_t> narrow_want(static_cast<size_t>(n)), narrow_got = narrow_want;
    ref().narrow_bf16(x.data(), n, narrow_want.data());
    fast().narrow_bf16(x.data(), n, narrow_got.data());
    EXPECT_EQ(narrow_want, narrow_got);
    want = got = x;
    ref().round_bf16(want.data(), n);
    fast().round_bf16(got.data(), n);
    EXPECT_EQ(differing(want, got), 0) << "round_bf16";
    const auto angles = draw_many(rng, n, false);
    const auto dim = static_cast<int>(n / 2 * 2);
    ref().rope(want.data(), angles.data(), weight.data(), dim);
    fast().rope(got.data(), angles.data(), weight.data(), dim);
    EXPECT_EQ(differing(want, got), 0) << "rope";

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
  for (uint64_t seed = 1; seed < 25; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    MlaAttentionArgs a;
    a.latent = static_cast<int64_t>(1 + rng.below(170));
    a.rope = static_cast<int64_t>(2 + 2 * rng.below(20));
    a.heads = 1 + static_cast<int>(rng.below(9));
    a.rows = static_cast<int64_t>(1 + rng.below(3));
    a.positions = static_cast<int64_t>(1 + rng.below(150));
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

INSTANTIATE_TEST_SUITE_P(Isa, Variants, ::testing::ValuesIn(tested_kernels()),
                         [](const auto& i) { return test_name(*i.param); });

}  // namespace
}  // namespace wingspan
