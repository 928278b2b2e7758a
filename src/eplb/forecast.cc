#include "eplb/forecast.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace wingspan {
namespace {

constexpr size_t kWindows = 48;
// Windows whose coefficients give the slope.
constexpr size_t kSlopeWindows = 5;
// A slope that is measured over few windows is trusted by half.
constexpr double kDamping = 0.5;
// Steps between windows this many times the median step are jumps; no slope reaches across one.
constexpr double kJump = 4;
constexpr int kSweeps = 8;

using Matrix = std::vector<std::vector<double>>;

// Eigenvectors of a symmetric matrix, in columns, by Jacobi's rotations; `a` ends up diagonal.
Matrix eigenvectors(Matrix& a) {
  const size_t n = a.size();
  Matrix v(n, std::vector<double>(n));
  for (size_t i = 0; i < n; ++i) v[i][i] = 1;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (size_t p = 0; p + 1 < n; ++p) {
      for (size_t q = p + 1; q < n; ++q) {
        if (std::fabs(a[p][q]) <= 1e-14 * std::sqrt(std::fabs(a[p][p] * a[q][q]))) continue;
        const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const double t = (theta >= 0 ? 1 : -1) / (std::fabs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (size_t k = 0; k < n; ++k) {
          const double kp = a[k][p], kq = a[k][q];
          a[k][p] = c * kp - s * kq;
          a[k][q] = s * kp + c * kq;
        }
        for (size_t k = 0; k < n; ++k) {
          const double pk = a[p][k], qk = a[q][k];
          a[p][k] = c * pk - s * qk;
          a[q][k] = s * pk + c * qk;
          const double vp = v[k][p], vq = v[k][q];
          v[k][p] = c * vp - s * vq;
          v[k][q] = s * vp + c * vq;
        }
      }
    }
  }
  return v;
}

// Windows since the last sudden change: one step between neighbours that is far above the usual.
size_t steady_windows(const Matrix& gram) {
  const size_t n = gram.size();
  std::vector<double> steps;
  for (size_t i = 0; i + 1 < n; ++i) {
    steps.push_back(gram[i][i] + gram[i + 1][i + 1] - 2 * gram[i][i + 1]);
  }
  std::vector<double> sorted = steps;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  size_t steady = 1;
  while (steady < n && steps[n - 1 - steady] <= kJump * *middle) ++steady;
  return steady;
}

// Least-squares slope of the last `most` entries, over steps of one.
double slope(const Matrix& vectors, size_t column, size_t most) {
  const size_t n = vectors.size(), used = std::min(most, kSlopeWindows);
  if (used < 3) return 0;
  const double middle = static_cast<double>(used - 1) / 2;
  double top = 0, bottom = 0;
  for (size_t i = 0; i < used; ++i) {
    const double x = static_cast<double>(i) - middle;
    top += x * vectors[n - used + i][column];
    bottom += x * x;
  }
  return kDamping * top / bottom;
}

}  // namespace

void LoadForecast::observe(std::span<const double> load) {
  WS_CHECK(history_.empty() || history_[0].size() == load.size(), "{} experts", load.size());
  if (history_.size() == kWindows) history_.erase(history_.begin());
  history_.emplace_back(load.begin(), load.end());
}

std::vector<double> LoadForecast::next() const {
  WS_CHECK(!history_.empty());
  const size_t n = history_.size(), experts = history_[0].size();
  if (n < 3) return history_.back();
  std::vector<double> scale(experts);
  for (const auto& row : history_) {
    for (size_t e = 0; e < experts; ++e) scale[e] += row[e] / static_cast<double>(n);
  }
  Matrix gram(n, std::vector<double>(n));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i; j < n; ++j) {
      double sum = 0;
      for (size_t e = 0; e < experts; ++e) {
        if (scale[e] > 0) sum += history_[i][e] * history_[j][e] / scale[e];
      }
      gram[i][j] = gram[j][i] = sum;
    }
  }
  const size_t steady = steady_windows(gram);
  const Matrix vectors = eigenvectors(gram);
  const double edge = std::sqrt(static_cast<double>(n)) + std::sqrt(static_cast<double>(experts));
  std::vector<double> weights(n);
  bool any = false;
  for (size_t k = 0; k < n; ++k) {
    if (gram[k][k] <= edge * edge) continue;
    any = true;
    const double coefficient = vectors[n - 1][k] + slope(vectors, k, steady);
    for (size_t s = 0; s < n; ++s) weights[s] += coefficient * vectors[s][k];
  }
  return any ? combine(weights) : history_.back();
}

std::vector<double> LoadForecast::combine(const std::vector<double>& weights) const {
  const auto& last = history_.back();
  std::vector<double> out(last.size());
  for (size_t s = 0; s < weights.size(); ++s) {
    for (size_t e = 0; e < out.size(); ++e) out[e] += weights[s] * history_[s][e];
  }
  for (double& load : out) load = std::max(0.0, load);
  const double total = std::accumulate(last.begin(), last.end(), 0.0);
  const double sum = std::accumulate(out.begin(), out.end(), 0.0);
  if (!(sum > 0)) return last;
  for (double& load : out) load *= total / sum;
  return out;
}

}  // namespace wingspan
