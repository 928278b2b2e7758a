// Closed forms against known values and against their limits.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "plan/queueing.h"

namespace wingspan::test {
namespace {

TEST(Queueing, ErlangCHasItsKnownValues) {
  EXPECT_DOUBLE_EQ(erlang_c(1, 0.7), 0.7);                   // M/M/1: the utilisation
  EXPECT_NEAR(erlang_c(2, 0.75), 2 * 0.5625 / 1.75, 1e-12);  // 2ρ²/(1+ρ)
  EXPECT_NEAR(erlang_c(8, 0.75), 0.35700, 1e-3);             // tables: 8 servers, 6 Erlang
  EXPECT_EQ(erlang_c(4, 1), 1);
  EXPECT_EQ(erlang_c(3, 0), 0);
  EXPECT_GT(erlang_c(5000, 0.999), 0.8);  // many servers neither overflow nor vanish
}

TEST(Queueing, SingleServersAreExact) {
  // M/M/1: mean wait ρ/(1−ρ)·s, P(wait > t) = ρ·exp(−(1−ρ)t/s). M/D/1 waits half as long.
  const QueueLoad exponential{1, 2, 0.8, 1, 1}, fixed{1, 2, 0.8, 1, 0};
  EXPECT_NEAR(wait_mean_s(exponential), 8, 1e-9);
  EXPECT_NEAR(wait_mean_s(fixed), 4, 1e-9);
  const double p95 = wait_quantile_s(exponential, 0.95);
  EXPECT_NEAR(0.8 * std::exp(-0.2 * p95 / 2), 0.05, 1e-9);
  EXPECT_EQ(wait_quantile_s(exponential, 0.2), 0);
  EXPECT_EQ(wait_mean_s({1, 2, 1, 1, 1}), std::numeric_limits<double>::infinity());
}

TEST(Queueing, MoreLoadNeverWaitsLess) {
  for (const int servers : {1, 3, 17}) {
    double before = 0;
    for (double u = 0; u < 0.99; u += 0.01) {
      const double wait = wait_quantile_s({servers, 1, u, 1, 0.5}, 0.95);
      EXPECT_GE(wait, before);
      before = wait;
    }
  }
}

TEST(Queueing, NormalAndPoisson) {
  EXPECT_NEAR(normal_quantile(0.95), 1.6448536269514722, 1e-10);
  EXPECT_NEAR(normal_quantile(0.5), 0, 1e-10);
  EXPECT_NEAR(normal_quantile(0.9999), 3.7190164854556804, 1e-9);
  EXPECT_NEAR(normal_quantile(0.001), -3.090232306167814, 1e-9);
  EXPECT_NEAR(occupancy_quantile(64, normal_quantile(0.95)), 64 + 8 * 1.6448536, 1e-5);
  EXPECT_EQ(occupancy_quantile(0.04, -3), 0);
  EXPECT_NEAR(poisson_max_mean(3.5, 1), 3.5, 1e-9);  // one rank: the mean itself
  EXPECT_GT(poisson_max_mean(0.1, 64), 1);
  EXPECT_NEAR(poisson_max_mean(500, 2), 500 + std::sqrt(500 / M_PI), 0.3);
}

}  // namespace
}  // namespace wingspan::test
