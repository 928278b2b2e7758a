#include "plan/queueing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"

namespace wingspan {

double erlang_c(int servers, double utilisation) {
  WS_CHECK(servers >= 1 && utilisation >= 0, "{} servers, utilisation {}", servers, utilisation);
  if (utilisation >= 1) return 1;
  // Erlang's B by its recurrence, which neither overflows nor cancels.
  const double offered = utilisation * servers;
  double blocked = 1;
  for (int n = 1; n <= servers; ++n) blocked = offered * blocked / (n + offered * blocked);
  return blocked / (1 - utilisation * (1 - blocked));
}

QueueWait queue_wait(const QueueLoad& load) {
  if (load.utilisation >= 1) return {1, std::numeric_limits<double>::infinity()};
  const double c = erlang_c(load.servers, load.utilisation);
  return {c, (load.arrival_variation + load.service_variation) / 2 * c * load.service_s /
                 (load.servers * (1 - load.utilisation))};
}

double QueueWait::quantile_s(double p) const {
  WS_CHECK(p >= 0 && p < 1, "p = {}", p);
  if (waits_share <= 1 - p) return 0;
  return mean_s / waits_share * std::log(waits_share / (1 - p));
}

double normal_quantile(double p) {
  WS_CHECK(p > 0 && p < 1, "p = {}", p);
  // Halving to within 1/4, then Newton's method, which doubles the digits at each step.
  const auto excess = [p](double z) { return std::erfc(-z / std::numbers::sqrt2) / 2 - p; };
  double low = -40, high = 40;
  while (high - low > 0.25) {
    const double middle = (low + high) / 2;
    (excess(middle) < 0 ? low : high) = middle;
  }
  double z = (low + high) / 2;
  for (int i = 0; i < 5; ++i) {
    z -= excess(z) * std::sqrt(2 * std::numbers::pi) * std::exp(z * z / 2);
  }
  return z;
}

double occupancy_quantile(double mean, double z) {
  return std::max(0.0, mean + z * std::sqrt(mean));
}

double poisson_max_mean(double mean, double ranks) {
  WS_CHECK(mean >= 0 && ranks >= 1, "mean {}, {} ranks", mean, ranks);
  if (mean == 0) return 0;
  if (ranks == 1) return mean;
  // Blom's approximation of the largest of so many normal numbers.
  constexpr double kNormal = 1e6;
  if (mean > kNormal) {
    return mean + std::sqrt(mean) * normal_quantile((ranks - 0.375) / (ranks + 0.25));
  }
  // Terms come from each other, from 25 standard deviations below the mean on: the first neither
  // underflows nor has anything below it. Below `nothing` P(all ≤ k) is nothing.
  const double nothing = std::exp(-40 / ranks);
  const double first = std::max(0.0, std::floor(mean - 25 * std::sqrt(mean)));
  double term = std::exp(first * std::log(mean) - mean - std::lgamma(first + 1));
  double sum = first, at_most = 0;
  for (double k = first;; ++k) {
    if (k > first) term *= mean / k;
    at_most += term;
    const double exceeds = at_most < nothing ? 1 : 1 - std::pow(std::min(at_most, 1.0), ranks);
    sum += exceeds;
    if (k > mean && (exceeds < 1e-12 || term < 1e-18)) return sum;
  }
}

}  // namespace wingspan
