// The simulation against queueing theory, conservation laws and itself.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plan/queueing.h"
#include "sim/simulate.h"

namespace wingspan::test {
namespace {

// Servers with 1 ms a token in front of a decode pool that takes no time.
SimDeployment queue_only(int servers) {
  SimDeployment d;
  d.prefill.servers = servers;
  d.prefill.service_s = [](double tokens) { return tokens * 1e-3; };
  d.prefill.handoff_s = [](double) { return 0.0; };
  d.decode.ranks = 1;
  d.decode.max_sequences_per_rank = 64;
  d.decode.kv_tokens_per_rank = 1 << 30;
  d.decode.step_s = [](double, double) { return 0.0; };
  return d;
}

Distribution simulated_waits(int servers, double utilisation, double cv, Arrivals arrivals) {
  WorkloadOptions w;
  w.arrivals = arrivals;
  w.rate_rps = utilisation * servers / 0.1;  // 100 tokens: 0.1 s
  w.requests = 60000;
  w.isl = 100;
  w.osl = 1;
  w.length_cv = cv;
  w.seed = 7;
  const auto requests = make_workload(w);
  return simulate(queue_only(servers), requests,
                  {.first_measured = 2000, .last_measured = w.requests})
      .queue_ms;
}

// Allen and Cunneen against a simulated queue: within 14 % of p95 at 11 of 12 points with Poisson
// arrivals and service times no more variable than exponential ones, and within a quarter of the
// service time at all.
TEST(Simulate, PrefillQueueFollowsTheClosedForm) {
  int close = 0, points = 0;
  for (const int servers : {1, 2, 4}) {
    for (const double utilisation : {0.5, 0.85}) {
      for (const double cv : {0.0, 0.8}) {
        const QueueLoad load{servers, 0.1, utilisation, 1, cv * cv};
        const Distribution waits = simulated_waits(servers, utilisation, cv, Arrivals::kPoisson);
        const double p95 = waits.quantile(0.95), formula = wait_quantile_s(load, 0.95) * 1e3;
        ++points;
        close += std::abs(formula / p95 - 1) <= 0.14 ? 1 : 0;
        EXPECT_NEAR(formula, p95, std::max(25.0, 0.2 * p95))
            << servers << " servers, utilisation " << utilisation << ", cv " << cv;
        EXPECT_NEAR(wait_mean_s(load) * 1e3, waits.mean(), std::max(5.0, 0.2 * waits.mean()))
            << servers << " servers, utilisation " << utilisation << ", cv " << cv;
      }
    }
  }
  EXPECT_EQ(points, 12);
  EXPECT_GE(close, 9);
}

TEST(Simulate, BurstsWaitLonger) {
  const double poisson = simulated_waits(4, 0.7, 0.5, Arrivals::kPoisson).quantile(0.95);
  const double burst = simulated_waits(4, 0.7, 0.5, Arrivals::kBurst).quantile(0.95);
  EXPECT_GT(burst, 1.5 * poisson);
}

SimDeployment whole(bool aggregated) {
  SimDeployment d = queue_only(aggregated ? 0 : 3);
  d.decode.instances = 2;
  d.decode.ranks = 4;
  d.decode.max_sequences_per_rank = 16;
  d.decode.kv_tokens_per_rank = 16 * 400;
  d.decode.step_s = [](double sequences, double context) {
    return 4e-3 + 1e-4 * sequences + 1e-6 * context;
  };
  d.decode.accepted_per_step = 1.7;
  d.decode.prompt_time = {2e-5, 0};
  return d;
}

WorkloadOptions busy() {
  WorkloadOptions w;
  w.rate_rps = 20;
  w.requests = 1500;
  w.isl = 120;
  w.osl = 100;
  w.length_cv = 0.3;
  return w;
}

TEST(Simulate, LittlesLawAndRateHold) {
  for (const bool aggregated : {false, true}) {
    const SimDeployment d = whole(aggregated);
    const auto requests = make_workload(busy());
    const SimResult r = simulate(d, requests, {.first_measured = 200, .last_measured = 1400});
    EXPECT_FALSE(r.cut_off);
    EXPECT_EQ(r.refused, 0);
    EXPECT_EQ(r.ttft_ms.size(), 1200U);
    EXPECT_NEAR(r.output_tokens_per_s, 20 * 100, 150);
    // Sequences in decode = rate · time in decode.
    const double seconds = r.itl_ms.mean() * 1e-3 * 100;
    EXPECT_NEAR(r.mean_sequences_per_rank, 20 * seconds / 8, 0.15 * 20 * seconds / 8 + 0.1);
    const double step_ms = r.itl_ms.mean() * d.decode.accepted_per_step;
    EXPECT_GT(step_ms, 4.1);
    EXPECT_LT(step_ms, aggregated ? 12 : 7);
    EXPECT_LE(r.itl_ms.quantile(0.5), r.itl_ms.quantile(0.95));
  }
}

TEST(Simulate, TheSameSeedGivesTheSameBits) {
  const auto requests = make_workload(busy());
  const SimOptions options{.first_measured = 100, .last_measured = 1000, .seed = 3};
  const SimResult a = simulate(whole(false), requests, options);
  const SimResult b = simulate(whole(false), requests, options);
  EXPECT_EQ(a.ttft_ms.mean(), b.ttft_ms.mean());
  EXPECT_EQ(a.itl_ms.quantile(0.99), b.itl_ms.quantile(0.99));
  EXPECT_EQ(a.steps, b.steps);
  WorkloadOptions other = busy();
  other.seed = 2;
  EXPECT_NE(make_workload(other), requests);
}

TEST(Simulate, OverloadIsSaidAndLongRequestsAreRefused) {
  SimDeployment d = whole(false);
  d.decode.kv_tokens_per_rank = 64;
  const auto requests = make_workload(busy());
  const SimResult none = simulate(d, requests, {.first_measured = 0, .last_measured = 100});
  EXPECT_EQ(none.refused, 100);
  EXPECT_TRUE(none.itl_ms.empty());
  const SimResult cut = simulate(whole(false), requests,
                                 {.first_measured = 0, .last_measured = 1500, .max_steps = 50});
  EXPECT_TRUE(cut.cut_off);
}

TEST(Simulate, WhatIsSpreadOverTheRanksStallsLess) {
  const auto requests = make_workload(busy());
  const SimOptions options{.first_measured = 200, .last_measured = 1400};
  const auto mean_itl = [&](PromptTime time) {
    SimDeployment d = whole(true);
    d.decode.prompt_time = time;
    return simulate(d, requests, options).itl_ms.mean();
  };
  const double none = mean_itl({0, 0}), own = mean_itl({1e-4, 0}), spread = mean_itl({0, 1e-4});
  EXPECT_LT(none, spread);
  EXPECT_LT(spread - none, 0.6 * (own - none));  // four ranks, few of which read at a time
}

TEST(Simulate, WaitingStepsGatherPrompts) {
  SimDeployment d = whole(true);
  d.decode.prompt_time = {1e-4, 0};
  const auto requests = make_workload(busy());
  const SimOptions options{.first_measured = 200, .last_measured = 1400};
  const double at_once = simulate(d, requests, options).itl_ms.mean();
  d.decode.prefill_wait_steps = 8;
  EXPECT_LT(simulate(d, requests, options).itl_ms.mean(), at_once);
}

}  // namespace
}  // namespace wingspan::test
