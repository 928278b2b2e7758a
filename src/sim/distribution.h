// Samples of one quantity and their mean and quantiles.
#pragma once

#include <cstddef>
#include <vector>

namespace wingspan {

class Distribution {
 public:
  Distribution() = default;
  explicit Distribution(std::vector<double> samples);
  bool empty() const { return sorted_.empty(); }
  size_t size() const { return sorted_.size(); }
  double mean() const { return mean_; }
  // The p-quantile, 0 ≤ p ≤ 1, linear between neighbouring samples. 0 without samples.
  double quantile(double p) const;

 private:
  std::vector<double> sorted_;
  double mean_ = 0;
};

}  // namespace wingspan
