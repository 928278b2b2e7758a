// The search over a small made-up cost model whose answers are known: what it returns holds its
// limits, is not dominated, and never gets worse with more to choose from.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "plan/made_up_model.h"
#include "plan/search.h"

namespace wingspan::test {
namespace {

SearchResult run(const MadeUp& model, const SearchLimits& l) {
  return search(model, default_space(256, l.gpus, 72, true), l);
}

void expect_holds(const SearchLimits& l, const Candidate& c) {
  EXPECT_LE(c.ttft_ms.at_percentile, l.ttft_ms);
  EXPECT_LE(c.itl_ms.at_percentile, l.itl_ms * 1.0001);
  const int used = c.decode_instances * c.decode.ep + c.prefill_instances * c.prefill.ep;
  EXPECT_EQ(used + c.idle_gpus, c.gpus);
  EXPECT_LE(c.gpus, l.gpus);
  EXPECT_GE(c.idle_gpus, 0);
  EXPECT_LE(c.prefill_utilisation, 1 - l.headroom + 1e-9);
  EXPECT_NEAR(c.tokens_per_s_per_gpu * c.gpus, c.requests_per_s * l.osl, 1e-6);
}

TEST(Search, EveryCandidateHoldsItsLimitsAndTheFrontIsNotDominated) {
  const uint64_t seed = 20;
  Rng rng(seed);
  for (int round = 0; round < 12; ++round) {
    MadeUp model;
    model.weights_ms = 1 + 60 * rng.uniform();
    model.exchange_ms = 8 * rng.uniform();
    model.row_ms = 0.01 + 0.1 * rng.uniform();
    SearchLimits l = limits_72();
    l.gpus = 4 + static_cast<int>(rng.below(140));
    l.itl_ms = 6 + 30 * rng.uniform();
    l.ttft_ms = 300 + 3000 * rng.uniform();
    SCOPED_TRACE(fmt::format("seed {}, round {}", seed, round));
    const SearchResult r = run(model, l);
    if (r.ranked.empty()) {
      EXPECT_NE(r.broken, LimitKind::kNone);
      continue;
    }
    for (const auto* list : {&r.ranked, &r.pareto, &r.by_width}) {
      for (const Candidate& c : *list) expect_holds(l, c);
    }
    for (size_t i = 1; i < r.pareto.size(); ++i) {
      EXPECT_GT(r.pareto[i].tokens_per_s_per_user, r.pareto[i - 1].tokens_per_s_per_user);
      EXPECT_LT(r.pareto[i].tokens_per_s_per_gpu, r.pareto[i - 1].tokens_per_s_per_gpu);
    }
    EXPECT_EQ(r.pareto.front().tokens_per_s_per_gpu, r.ranked.front().tokens_per_s_per_gpu);
  }
}

TEST(Search, MoreGpusOrWeakerLimitsNeverLowerTheThroughput) {
  const MadeUp model;
  double before = 0;
  for (int gpus = 2; gpus <= 150; gpus += 7) {
    SearchLimits l = limits_72();
    l.gpus = gpus;
    const SearchResult r = run(model, l);
    const double total = r.ranked.empty() ? 0 : r.ranked[0].tokens_per_s_per_gpu * gpus;
    EXPECT_GE(total, before * 0.999) << gpus << " GPUs";
    before = total;
  }
  SearchLimits l = limits_72();
  const double strict = run(model, l).ranked.at(0).tokens_per_s_per_gpu;
  l.itl_ms *= 2;
  EXPECT_GE(run(model, l).ranked.at(0).tokens_per_s_per_gpu, strict);
}

TEST(Search, ARateIsCarriedByTheFewestGpus) {
  const MadeUp model;
  SearchLimits l = limits_72();
  const double most = run(model, l).ranked.at(0).requests_per_s;
  int before = 0;
  for (const double share : {0.05, 0.2, 0.5, 0.9}) {
    l.rate_rps = most * share;
    const SearchResult r = run(model, l);
    ASSERT_FALSE(r.ranked.empty()) << share;
    for (const Candidate& c : r.ranked) {
      EXPECT_NEAR(c.requests_per_s, *l.rate_rps, *l.rate_rps * 1e-6);
      EXPECT_EQ(c.idle_gpus, 0);
      EXPECT_GE(c.gpus, r.ranked[0].gpus);
      expect_holds(l, c);
    }
    EXPECT_GE(r.ranked[0].gpus, before);
    before = r.ranked[0].gpus;
  }
  l.rate_rps = most * 3;
  const SearchResult none = run(model, l);
  EXPECT_TRUE(none.ranked.empty());
  EXPECT_EQ(none.broken, LimitKind::kRate);
  ASSERT_TRUE(none.nearest);
  EXPECT_NEAR(none.nearest->requests_per_s, most, most * 1e-6);
}

TEST(Search, ABudgetIsALimitOfGpus) {
  const MadeUp model;
  SearchLimits l = limits_72();
  l.gpu_usd_hour = 2.5;
  l.budget_usd_hour = 100;  // 40 GPUs
  const SearchResult r = run(model, l);
  ASSERT_FALSE(r.ranked.empty());
  EXPECT_EQ(r.ranked[0].gpus, 40);
  EXPECT_GT(r.rejected.budget, 0);
  l.budget_usd_hour = 2;
  EXPECT_EQ(run(model, l).broken, LimitKind::kBudget);
}

TEST(Search, NothingHoldsNamesTheLimit) {
  MadeUp model;
  SearchLimits l = limits_72();
  l.itl_ms = 0.5;
  const SearchResult itl = run(model, l);
  EXPECT_TRUE(itl.ranked.empty());
  EXPECT_EQ(itl.broken, LimitKind::kItl);
  ASSERT_TRUE(itl.nearest);
  EXPECT_GT(itl.nearest->itl_ms.at_percentile, l.itl_ms);
  EXPECT_GT(itl.rejected.itl, 0);
  l = limits_72();
  l.ttft_ms = 3;
  const SearchResult ttft = run(model, l);
  EXPECT_EQ(ttft.broken, LimitKind::kTtft);
  EXPECT_GT(ttft.rejected.ttft, 0);
  model.memory_batch = -1;
  const SearchResult memory = run(model, limits_72());
  EXPECT_EQ(memory.broken, LimitKind::kMemory);
  EXPECT_GT(memory.rejected.memory, 0);
}

TEST(Search, SlotsFillTheGpusEvenly) {
  EXPECT_EQ(slot_choices(256, 1), std::vector<int>{256});
  EXPECT_EQ(slot_choices(256, 32), (std::vector<int>{256, 288}));
  EXPECT_EQ(slot_choices(256, 72), (std::vector<int>{288, 360}));
  for (int ep = 2; ep <= 320; ++ep) {
    for (const int slots : slot_choices(128, ep)) {
      EXPECT_EQ(slots % ep, 0);
      EXPECT_GE(slots, 128);
    }
  }
}

}  // namespace
}  // namespace wingspan::test
