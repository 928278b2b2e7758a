// libxsmm as an oracle: another library's float32 GEMM gives the same products, up to rounding.
#include <gtest/gtest.h>
#include <libxsmm.h>

#include "base/fpmode.h"
#include "draw.h"
#include "kernels/kernels.h"

namespace wingspan {
namespace {

TEST(Libxsmm, AgreesUpToRounding) {
  const FlushSubnormals mode;
  Rng rng(7);
  for (const Kernels* kernels : all_kernels()) {
    for (const int rows : {1, 5, 6, 13, 40}) {
      const int n = 96, k = 320;
      const auto x = draw_many(rng, rows * k, false), w = draw_many(rng, n * k, false);
      const auto* bytes = reinterpret_cast<const std::byte*>(w.data());
      const PackedWeight packed = pack_weight(DType::kF32, n, k, bytes, nullptr);
      std::vector<float> got(static_cast<size_t>(rows * n)), want = got;
      const Rows in{
          DType::kF32, reinterpret_cast<const std::byte*>(x.data()), k * 4, nullptr, 0, rows, k};
      kernels->linear({in, &packed, got.data(), n, 0, packed.panels()});

      // Column-major there: yᵀ [n, rows] = wᵀ [n, k] · xᵀ [k, rows].
      std::vector<float> transposed(w.size());
      for (int i = 0; i < n; ++i) {
        for (int j = 0; j < k; ++j) {
          transposed[static_cast<size_t>(j * n + i)] = w[static_cast<size_t>(i * k + j)];
        }
      }
      const float alpha = 1, beta = 0;
      const auto kernel = libxsmm_smmdispatch(n, rows, k, nullptr, nullptr, nullptr, &alpha, &beta,
                                              nullptr, nullptr);
      ASSERT_NE(kernel, nullptr);
      kernel(transposed.data(), x.data(), want.data());
      for (size_t i = 0; i < got.size(); ++i) {
        double magnitude = 0;
        const size_t row = i / n, column = i % n;
        for (size_t j = 0; j < k; ++j) {
          magnitude += std::fabs(static_cast<double>(x[row * k + j]) * w[column * k + j]);
        }
        ASSERT_NEAR(got[i], want[i], 1e-5 * magnitude) << kernels->variant << " " << rows;
      }
    }
  }
}

}  // namespace
}  // namespace wingspan
