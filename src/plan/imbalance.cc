// Imbalance of expert rows over ranks, and the exchanges that carry them.
#include <algorithm>
#include <cmath>

#include "plan/blocks.h"

namespace wingspan {
namespace {

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

// E[max of `ranks`] of rank loads with mean 1: a rank holds `held` experts of log-normal
// popularity, whose mean is again log-normal to good accuracy (Fenton and Wilkinson). Trapezoids
// over z.
double unplanned(double sigma, double held, double ranks) {
  const double spread = std::sqrt(std::log(1 + (std::exp(sigma * sigma) - 1) / held));
  // E[X] = ∫ 1 − F(z)^ranks dX(z) with X = exp(spread·z − spread²/2), from far below.
  constexpr int kPoints = 96;
  constexpr double kLow = -6, kHigh = 8;
  const double step = (kHigh - kLow) / kPoints;
  double sum = std::exp(spread * kLow - spread * spread / 2);
  for (int i = 0; i < kPoints; ++i) {
    const double z = kLow + (i + 0.5) * step;
    const double x = std::exp(spread * z - spread * spread / 2);
    sum += (1 - std::pow(normal_cdf(z), ranks)) * x * spread * step;
  }
  return sum;
}

}  // namespace

double rank_imbalance(const PlanModel& model, const PlanScenario& s, const PlanConstants& c,
                      double ep, double slots, double rows) {
  if (s.balancing == Balancing::kGiven) return std::min(s.imbalance, ep);
  if (ep <= 1 || model.experts <= 0 || s.balancing == Balancing::kPerfect) return 1;
  const double chance = 2 * std::log(ep) / std::max(rows, 1e-9);
  double f = 1;
  if (s.balancing == Balancing::kNone || s.balancing == Balancing::kUntuned) {
    const double held = std::max(1.0, std::floor(model.experts / ep));
    const double excess = unplanned(c.popularity_sigma, held, ep) - 1;
    // Spare slots soften what no plan does; without them `untuned` is no plan.
    const bool spare = s.balancing == Balancing::kUntuned && slots > model.experts;
    f = 1 + std::hypot(excess * (spare ? c.untuned_share : 1), std::sqrt(chance));
  } else {
    const double error =
        c.slot_load_error * (s.balancing == Balancing::kOnline ? c.online_error_share : 1);
    f = 1 + std::sqrt(error * error * 2 * std::log(ep) / std::max(1.0, slots / ep) + chance);
  }
  // One rank at most has all the rows.
  return std::min(f, ep);
}

double exchange_s(const PlanModel& model, const PlanGpu& gpu, const PlanConstants& c, double ep,
                  double rows, double bytes, double fixed_s, bool bulk, double between) {
  if (ep <= 1) return 0;
  const double domain = gpu.scaleup_domain, k = model.top_k;
  const double up = plan_detail::scaleup_reached(gpu, c);
  if (ep <= domain) {
    // A row goes once to each distinct rank.
    double link = up;
    if (gpu.scaleup_pair_bytes_per_s > 0) {
      link = std::min(up, c.scaleup_share * gpu.scaleup_pair_bytes_per_s * (ep - 1));
    }
    return fixed_s + rows * bytes * (ep - 1) * (1 - std::pow(1 - 1 / ep, k)) / link;
  }
  const double out = gpu.scaleout_bytes_per_s;
  if (bulk) {
    // One copy per domain, forwarded inside to the distinct ranks there.
    const double domains = std::ceil(ep / domain);
    const double inter = (domains - 1) * (1 - std::pow(1 - 1 / domains, k));
    const double intra = ep * (1 - std::pow(1 - 1 / ep, k)) * (domain - 1) / domain;
    return fixed_s + std::max(rows * bytes * between * inter / (c.scaleout_bulk_share * out),
                              rows * bytes * intra / up);
  }
  // One copy per expert.
  return fixed_s + std::max(rows * bytes * k * (1 - domain / ep) / (c.scaleout_share * out),
                            rows * bytes * k * (domain - 1) / ep / up);
}

}  // namespace wingspan
