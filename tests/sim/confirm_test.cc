// Finalists of a search in the simulation: what holds is confirmed, what queues is not.
#include <gtest/gtest.h>

#include "plan/made_up_model.h"
#include "sim/confirm.h"

namespace wingspan::test {
namespace {

TEST(Confirm, TheSimulationAgreesWithTheClosedForm) {
  const MadeUp model;
  const SearchLimits l = limits_72();
  const SearchResult found = search(model, default_space(256, l.gpus, 72, true), l);
  ASSERT_FALSE(found.ranked.empty());
  const Candidate& c = found.ranked[0];
  const Confirmation sim = confirm_candidate(model, l, c, {});
  EXPECT_FALSE(sim.result.cut_off);
  EXPECT_NEAR(sim.result.itl_ms.mean(), c.itl_ms.mean, 0.08 * c.itl_ms.mean);
  EXPECT_NEAR(sim.result.ttft_ms.mean(), c.ttft_ms.mean, 0.2 * c.ttft_ms.mean);
  const double rate = sim.result.output_tokens_per_s;
  EXPECT_NEAR(rate, c.requests_per_s * l.osl, 0.1 * rate);
}

TEST(Confirm, ADecisionHoldsItsLimitsAndIsTheSameEachTime) {
  MadeUp model;
  SearchLimits l = limits_72();
  l.gpus = 24;
  l.ttft_ms = 520;  // little room for a queue
  l.length_variation = 0.09;
  const SearchResult found = search(model, default_space(256, l.gpus, 72, true), l);
  ASSERT_FALSE(found.ranked.empty());
  ConfirmOptions options;
  options.length_cv = 0.3;
  for (const Arrivals arrivals : {Arrivals::kPoisson, Arrivals::kBurst}) {
    options.arrivals = arrivals;
    const Decision a = decide_finalists(model, l, found.ranked, options);
    const Decision b = decide_finalists(model, l, found.ranked, options);
    if (!a.recommended) {
      EXPECT_EQ(arrivals, Arrivals::kBurst);
      EXPECT_GT(a.refused, 0);
      continue;
    }
    EXPECT_LE(a.recommended->confirmation.ttft_ms, l.ttft_ms);
    EXPECT_LE(a.recommended->confirmation.itl_ms, l.itl_ms);
    EXPECT_EQ(a.recommended->confirmation.ttft_ms, b.recommended->confirmation.ttft_ms);
    EXPECT_EQ(a.simulated, b.simulated);
  }
}

TEST(Confirm, ARefusedFinalistNamesTheLimitThatItBreaks) {
  const MadeUp model;
  const SearchLimits l = limits_72();
  const SearchResult found = search(model, default_space(256, l.gpus, 72, true), l);
  ASSERT_FALSE(found.ranked.empty());
  for (const LimitKind kind : {LimitKind::kItl, LimitKind::kTtft}) {
    SearchLimits tight = l;
    (kind == LimitKind::kItl ? tight.itl_ms : tight.ttft_ms) /= 20;
    const Decision d = decide_finalists(model, tight, {found.ranked[0]}, {});
    EXPECT_FALSE(d.recommended);
    ASSERT_TRUE(d.nearest);
    EXPECT_EQ(broken_limit(tight, d.nearest->confirmation), kind);
  }
}

}  // namespace
}  // namespace wingspan::test
