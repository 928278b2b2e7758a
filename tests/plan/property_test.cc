// What holds for every prediction, whatever the model, GPU and scenario.
#include <gtest/gtest.h>

#include <cmath>

#include "plan/cases.h"
#include "plan/explain.h"

namespace wingspan::test {
namespace {

constexpr const char* kModels[] = {"R1",       "Qwen3-235B", "Mixtral", "gpt-oss-120b",
                                   "Maverick", "GLM-4.5 (",  "Kimi"};
constexpr const char* kGpus[] = {"H200", "H20-96G", "GB200", "B200 SXM", "MI300X"};

// Calls `check(model, gpu, scenario)` with 400 drawn questions.
template <class Check>
void for_questions(uint64_t seed, const Check& check) {
  Rng rng(seed);
  std::vector<PlanModel> models;
  std::vector<PlanGpu> gpus;
  for (const char* name : kModels) models.push_back(model(name));
  for (const char* name : kGpus) gpus.push_back(roomy(gpu(name)));
  for (int i = 0; i < 400; ++i) {
    const PlanModel& m = models[rng.below(models.size())];
    const PlanGpu& g = gpus[rng.below(gpus.size())];
    const PlanScenario s = random_scenario(rng, m);
    const Status valid = validate_scenario(s, m, "drawn");
    ASSERT_TRUE(valid) << valid.error().message();
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(i) + ": " + m.name +
                 " on " + g.name + " " + json_of_scenario(s).dump());
    check(m, g, s);
    if (testing::Test::HasFailure()) return;
  }
}

double rate(const PlanModel& m, const PlanGpu& g, const PlanScenario& s,
            const PlanConstants& c = constants()) {
  return need(predict(m, g, s, c)).tokens_per_s_per_gpu;
}

TEST(PlanProperties, PartsSumToTheStepAndLinesToTheirPart) {
  for_questions(1, [](const PlanModel& m, const PlanGpu& g, const PlanScenario& s) {
    const Explanation e = need(explain(m, g, s, constants()));
    const Prediction& p = e.prediction;
    double sum = 0, bounds = 0;
    for (const double ms : p.step.ms) sum += ms;
    for (const double ms : p.step.bound_ms) bounds += ms;
    EXPECT_NEAR(sum, p.step.step_ms, 1e-9 * p.step.step_ms);
    EXPECT_NEAR(bounds, p.step.step_ms, 1e-6 * p.step.step_ms);
    for (const ExplainedPart& part : e.parts) {
      double lines = 0;
      for (const TraceLine& line : part.lines) lines += line.us * line.times * 1e-3;
      EXPECT_NEAR(lines, part.ms, 1e-9 * p.step.step_ms) << name_of(part.term);
    }
    EXPECT_GT(p.tokens_per_s_per_gpu, 0);
    EXPECT_LT(p.interval_low, p.tokens_per_s_per_gpu);
    EXPECT_GT(p.interval_high, p.tokens_per_s_per_gpu);
    EXPECT_GE(p.step.imbalance, 1);
  });
}

TEST(PlanProperties, MoreBandwidthOrFlopsNeverSlows) {
  for_questions(2, [](const PlanModel& m, const PlanGpu& g, const PlanScenario& s) {
    const double now = rate(m, g, s) * (1 - 1e-9);
    PlanGpu links = g, flops = g;
    links.scaleup_bytes_per_s *= 1.5;
    links.scaleup_pair_bytes_per_s *= 1.5;
    links.scaleout_bytes_per_s *= 1.5;
    EXPECT_GE(rate(m, links, s), now) << "links";
    flops.bf16 *= 1.5;
    flops.fp8 *= 1.5;
    flops.fp4 *= 1.5;
    EXPECT_GE(rate(m, flops, s), now) << "flops";
    PlanGpu memory = g;
    memory.hbm_bytes_per_s *= 1.5;
    EXPECT_GE(rate(m, memory, s), now) << "memory";
  });
}

TEST(PlanProperties, BetterBalanceNeverSlows) {
  for_questions(3, [](const PlanModel& m, const PlanGpu& g, PlanScenario s) {
    double last = 0;
    for (const Balancing b : {Balancing::kNone, Balancing::kUntuned, Balancing::kPerfect}) {
      s.balancing = b;
      const double now = rate(m, g, s);
      EXPECT_GE(now, last * (1 - 1e-9)) << name_of(b);
      last = now;
    }
    s.balancing = Balancing::kStatic;
    const double fixed = rate(m, g, s);
    s.balancing = Balancing::kOnline;
    EXPECT_GE(rate(m, g, s), fixed * (1 - 1e-9));
  });
}

// More sequences never give fewer tokens per second, but where half batches read the weights twice
// and experts not hit before are read (both named parts of the step): those are left out here.
TEST(PlanProperties, MoreBatchNeverLowersDecodeThroughput) {
  for_questions(4, [](const PlanModel& m, const PlanGpu& g, PlanScenario s) {
    if (s.phase != Phase::kDecode) return;
    const double now = rate(m, g, s);
    s.batch_per_gpu = *s.batch_per_gpu * 1.5;
    const Prediction more = need(predict(m, g, s, constants()));
    EXPECT_GE(more.tokens_per_s_per_gpu, now * (1 - 1e-9));
  });
}

TEST(PlanProperties, LongerContextsNeverDecodeFaster) {
  for_questions(5, [](const PlanModel& m, const PlanGpu& g, PlanScenario s) {
    if (s.phase != Phase::kDecode) return;
    const double now = rate(m, g, s);
    s.isl *= 2;
    EXPECT_LE(rate(m, g, s), now * (1 + 1e-9));
  });
}

// Dimensions: with every rate three times as high and every fixed time a third, all times are a
// third; a term that mixed units would not follow.
TEST(PlanProperties, TimesScaleAsTimes) {
  for_questions(6, [](const PlanModel& m, const PlanGpu& g, const PlanScenario& s) {
    constexpr double kFaster = 3;
    PlanGpu fast = g;
    for (double* rate :
         {&fast.bf16, &fast.fp8, &fast.fp4, &fast.hbm_bytes_per_s, &fast.scaleup_bytes_per_s,
          &fast.scaleup_pair_bytes_per_s, &fast.scaleout_bytes_per_s, &fast.exponentials_per_s}) {
      *rate *= kFaster;
    }
    PlanConstants c = constants();
    for (double* time : {&c.attention_fixed_us, &c.experts_fixed_us, &c.layer_fixed_us, &c.host_ms,
                         &c.allreduce_fixed_us, &c.dispatch_scaleup_us, &c.combine_scaleup_us,
                         &c.dispatch_scaleout_us, &c.combine_scaleout_us}) {
      *time /= kFaster;
    }
    const Prediction a = need(predict(m, g, s, constants())), b = need(predict(m, fast, s, c));
    EXPECT_NEAR(b.tokens_per_s_per_gpu / a.tokens_per_s_per_gpu, kFaster, 1e-5);
    EXPECT_NEAR(a.step.step_ms / b.step.step_ms, kFaster, 1e-5);
    for (size_t i = 0; i < kStepTerms; ++i) {
      EXPECT_NEAR(a.step.ms[i], kFaster * b.step.ms[i], 1e-5 * a.step.step_ms);
    }
  });
}

// Bytes: with twice the bytes of everything in memory and on the wire per second, nothing of the
// memory's accounting moves; with twice the memory, twice what is free and more.
TEST(PlanProperties, MemoryAddsUp) {
  for_questions(7, [](const PlanModel& m, const PlanGpu& g, const PlanScenario& s) {
    const PlanMemory a = plan_memory(m, g, s, constants(), s.ep, s.slots);
    EXPECT_NEAR(a.kv_bytes_free,
                constants().memory_share * g.hbm_bytes - a.weights() - a.buffers_bytes, 1);
    PlanGpu twice = g;
    twice.hbm_bytes *= 2;
    const PlanMemory b = plan_memory(m, twice, s, constants(), s.ep, s.slots);
    EXPECT_NEAR(b.kv_bytes_free - a.kv_bytes_free, constants().memory_share * g.hbm_bytes, 1);
    EXPECT_EQ(a.weights(), b.weights());
    EXPECT_GT(b.max_batch_per_gpu, a.max_batch_per_gpu);
  });
}

TEST(PlanProperties, ACarriedLoadNeverExceedsEitherSide) {
  for_questions(8, [](const PlanModel& m, const PlanGpu& g, const PlanScenario& s) {
    if (s.phase != Phase::kDisaggregated) return;
    const Prediction p = need(predict(m, g, s, constants()));
    EXPECT_LE(p.prefill_utilisation, 1 + 1e-9);
    const double decoded = s.decode_gpus * p.batch_per_gpu / (p.itl_ms * 1e-3 * s.osl);
    EXPECT_LE(p.requests_per_s, decoded * (1 + 1e-6));
    if (s.concurrency) {
      const double users = p.requests_per_s * (p.ttft_ms + s.osl * p.itl_ms) * 1e-3;
      EXPECT_NEAR(users / *s.concurrency, 1, 0.02);
    }
  });
}

TEST(PlanProperties, ExplainNamesWhatWouldChangeTheBound) {
  PlanScenario s = scenario(Phase::kDecode, 32, 288);
  s.batch_per_gpu = 64;
  const Explanation e = need(explain(model("R1"), gpu("GB200 NVL72"), s, constants()));
  ASSERT_GE(e.what_if.size(), 5u);
  for (const WhatIf& w : e.what_if) {
    ASSERT_TRUE(w.prediction || !w.refusal.empty()) << w.change;
    if (w.prediction) {
      EXPECT_NEAR(w.effect,
                  w.prediction->tokens_per_s_per_gpu / e.prediction.tokens_per_s_per_gpu - 1,
                  1e-12);
    }
  }
  for (size_t i = 1; i < e.parts.size(); ++i) EXPECT_GE(e.parts[i - 1].ms, e.parts[i].ms);
}

}  // namespace
}  // namespace wingspan::test
