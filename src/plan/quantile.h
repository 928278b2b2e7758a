// Quantiles of a sample.
#pragma once

#include <algorithm>
#include <vector>

namespace wingspan {

// Linear between the sorted values; 0 of none. `q` in [0, 1].
inline double sample_quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

}  // namespace wingspan
