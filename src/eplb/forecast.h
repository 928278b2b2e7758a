// What the next window's load will be, from those before it.
//
// Experts do not move one by one: prompts of one kind raise the same experts together, so the loads
// of many windows are mixtures of few profiles plus counting noise. The recent windows, each count
// divided by the square root of its expert's mean (counting noise then has variance 1), form a
// matrix whose singular values above (√windows + √experts) can't be noise (Marchenko and Pastur,
// 1967). The last window is replaced by its projection on those directions, carried on by one
// window along half of their recent slope since the last jump. Less noise: a better forecast, and
// moves that chase noise are not made.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace wingspan {

class LoadForecast {
 public:
  // Adds the counts of one window: [experts], always of one length.
  void observe(std::span<const double> load);
  // The load expected next, ≥ 0, with the total of the last window. After at least one observe().
  std::vector<double> next() const;

 private:
  std::vector<double> combine(const std::vector<double>& weights) const;
  std::vector<std::vector<double>> history_;  // oldest first, at most 48
};

}  // namespace wingspan
