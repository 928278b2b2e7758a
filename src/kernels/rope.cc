#include "kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace wingspan {

std::vector<float> rope_frequencies(int dim, double theta, const YarnParams* yarn) {
  WS_CHECK(dim > 0 && dim % 2 == 0, "dim {}", dim);
  const int half = dim / 2;
  std::vector<float> out(static_cast<size_t>(half));
  double low = 0, high = 0;
  if (yarn != nullptr) {
    const auto correction = [&](double rotations) {
      return dim * std::log(yarn->original_max_position / (rotations * 2 * std::numbers::pi)) /
             (2 * std::log(theta));
    };
    low = correction(yarn->beta_fast);
    high = correction(yarn->beta_slow);
    if (yarn->truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(dim - 1));
    if (low == high) high += 0.001;
  }
  for (int i = 0; i < half; ++i) {
    const auto base = static_cast<float>(
        std::pow(static_cast<float>(theta), static_cast<float>(2 * i) / static_cast<float>(dim)));
    const float plain = 1.0F / base;
    if (yarn == nullptr) {
      out[static_cast<size_t>(i)] = plain;
      continue;
    }
    const float scaled = 1.0F / (static_cast<float>(yarn->factor) * base);
    const auto ramp = static_cast<float>(std::clamp((i - low) / (high - low), 0.0, 1.0));
    const float keep = 1.0F - ramp;
    out[static_cast<size_t>(i)] = scaled * (1.0F - keep) + plain * keep;
  }
  return out;
}

RopeTable make_rope_table(const std::vector<float>& frequencies, int64_t positions) {
  RopeTable t;
  t.dim = static_cast<int>(frequencies.size()) * 2;
  const auto half = frequencies.size();
  t.cos.resize(static_cast<size_t>(positions) * half);
  t.sin.resize(t.cos.size());
  for (size_t p = 0; p < static_cast<size_t>(positions); ++p) {
    for (size_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(p) * frequencies[i];
      t.cos[p * half + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      t.sin[p * half + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
  return t;
}

void rope_apply(float* x, const float* cos, const float* sin, int dim) {
  for (int i = 0; i < dim / 2; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = std::fma(a, cos[i], -(b * sin[i]));
    x[2 * i + 1] = std::fma(b, cos[i], a * sin[i]);
  }
}

}  // namespace wingspan
