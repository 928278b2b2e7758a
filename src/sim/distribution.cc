#include "sim/distribution.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace wingspan {

Distribution::Distribution(std::vector<double> samples) : sorted_(std::move(samples)) {
  if (sorted_.empty()) return;
  std::sort(sorted_.begin(), sorted_.end());
  mean_ = std::accumulate(sorted_.begin(), sorted_.end(), 0.0) / static_cast<double>(size());
}

double Distribution::quantile(double p) const {
  WS_CHECK(p >= 0 && p <= 1, "p = {}", p);
  if (sorted_.empty()) return 0;
  const double at = p * static_cast<double>(size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, size() - 1);
  const double share = at - std::floor(at);
  return sorted_[below] * (1 - share) + sorted_[above] * share;
}

}  // namespace wingspan
