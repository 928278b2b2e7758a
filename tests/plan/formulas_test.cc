// The formulas against numbers worked out by hand or published with them (docs/planner.md).
#include <gtest/gtest.h>

#include <cmath>

#include "plan/blocks.h"
#include "plan/cases.h"
#include "plan/queueing.h"

namespace wingspan::test {
namespace {

using plan_detail::flops_efficiency;
using plan_detail::peak_flops;

TEST(PlanFormulas, DimensionsOfR1) {
  const PlanModel m = model("R1");
  EXPECT_NEAR(m.attention_params() / 1e6, 187, 0.5);
  EXPECT_EQ(m.decode_core_flops(), 278528);
  EXPECT_EQ(m.expert_params(), 44040192);
  EXPECT_EQ(m.layers * m.kv_elements(), 35136);
}

TEST(PlanFormulas, FlopsShareFallsWithFlopsPerByte) {
  const auto share = [](const std::string& name, PlanDType type) {
    const PlanGpu g = gpu(name);
    return flops_efficiency(g, constants(), peak_flops(g, type));
  };
  // DeepGEMM's contiguous grouped products on H800: 1,214 and 1,346 of 1,979 Tflop/s; blocks with
  // many other kernels reach somewhat less.
  EXPECT_GT(share("H800 SXM", PlanDType::kFp8), 0.57);
  EXPECT_LT(share("H800 SXM", PlanDType::kFp8), 0.69);
  double last = 1;
  for (const auto& [name, type] :
       {std::pair("H20-96G", PlanDType::kFp8), std::pair("H200 SXM", PlanDType::kFp8),
        std::pair("H800 SXM", PlanDType::kFp8), std::pair("GB200 NVL72", PlanDType::kFp8),
        std::pair("GB200 NVL72", PlanDType::kNvfp4), std::pair("GB300 NVL72", PlanDType::kNvfp4)}) {
    EXPECT_LT(share(name, type), last) << name;
    last = share(name, type);
  }
  EXPECT_GT(last, 0.25);  // NVFP4 on GB300 still beats FP8: 15 against 5 Pflop/s nominal
}

TEST(PlanFormulas, ARooflineIsSoftAtItsKneeAndLeavesNoRange) {
  const PlanConstants& c = constants();
  const double knee = plan_detail::roofline(c, 1e-6, 1e-6, Bound::kWeights).s;
  EXPECT_NEAR(knee / 1e-6, std::pow(2, 1 / c.knee_power), 1e-12);
  EXPECT_NEAR(plan_detail::roofline(c, 1, 1e-9, Bound::kKv).s, 1, 1e-12);
  EXPECT_GT(plan_detail::roofline(c, 1e-200, 1e-201, Bound::kKv).s, 1e-200);
}

TEST(PlanFormulas, MemoryOfR1) {
  const PlanModel m = model("R1");
  PlanScenario s = scenario(Phase::kDecode, 32, 256);
  s.experts = PlanDType::kNvfp4;
  const auto weights = [&](double ep, double slots) {
    s.ep = s.attention_dp = ep;
    return plan_memory(m, gpu("GB200 NVL72"), s, constants(), ep, slots).weights() / 1e9;
  };
  EXPECT_NEAR(weights(8, 256), 65, 3);
  EXPECT_NEAR(weights(32, 288), 32, 3);
  EXPECT_GT(weights(8, 288), weights(8, 256));
  const PlanMemory at = plan_memory(m, gpu("GB200 NVL72"), s, constants(), 32, 288);
  EXPECT_EQ(at.kv_bytes_per_token, 35136);
  EXPECT_NEAR(at.attention_bytes / 1e9, 11.6, 0.3);
  s.kv = PlanDType::kBf16;
  EXPECT_EQ(plan_memory(m, gpu("GB200 NVL72"), s, constants(), 32, 288).kv_bytes_per_token, 70272);
}

TEST(PlanFormulas, ImbalanceOfAPlanAndOfChance) {
  const PlanModel m = model("R1");
  PlanScenario s = scenario(Phase::kDecode, 32, 288);
  const auto f = [&](double ep, double slots, double rows) {
    return rank_imbalance(m, s, constants(), ep, slots, rows);
  };
  const std::pair<double, double> published[] = {{4, 1.04},  {8, 1.05},  {16, 1.08},
                                                 {32, 1.12}, {64, 1.18}, {72, 1.19}};
  for (const auto& [ep, value] : published) EXPECT_NEAR(f(ep, 288, 4096), value, 0.015) << ep;
  s.balancing = Balancing::kPerfect;
  EXPECT_EQ(f(32, 288, 64), 1);
  s.balancing = Balancing::kNone;
  const std::pair<double, double> unplanned[] = {
      {4, 1.20}, {8, 1.43}, {16, 1.84}, {32, 2.64}, {64, 4.19}};
  for (const auto& [ep, value] : unplanned) EXPECT_NEAR(f(ep, 256, 1e9) / value, 1, 0.12) << ep;
  s.balancing = Balancing::kGiven;
  s.imbalance = 1.7;
  EXPECT_EQ(f(32, 288, 64), 1.7);
}

TEST(PlanFormulas, AnExchangeInsideADomainByHand) {
  // 128 rows of 4,032 bytes to 31 of 32 peers, 7.1 copies a row, 63 % of 900 GB/s.
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("GB200 NVL72");
  const double copies = 31 * (1 - std::pow(31.0 / 32, 8));
  const double s = exchange_s(m, g, constants(), 32, 128, 4032, 18e-6, false);
  EXPECT_NEAR(s, 18e-6 + 128 * 4032 * copies / (constants().scaleup_share * 900e9), 1e-9);
  EXPECT_EQ(exchange_s(m, g, constants(), 1, 128, 4032, 18e-6, false), 0);
}

TEST(PlanFormulas, TheShareThatLeavesTheNodeIsTheWholeDependenceOnTheWidth) {
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("H200");
  const auto beyond = [&](double ep) {
    return exchange_s(m, g, constants(), ep, 128, 14336, 0, false);
  };
  EXPECT_NEAR(beyond(32) / beyond(16), 0.75 / 0.5, 1e-9);
  EXPECT_NEAR(beyond(64) / beyond(16), 0.875 / 0.5, 1e-9);
}

TEST(PlanFormulas, TheMostOfSeveralPoissonDraws) {
  EXPECT_NEAR(poisson_max_mean(0.7, 1), 0.7, 1e-12);
  // Two draws of mean 1: 2·E[X] − E[min], by summing over all pairs.
  double sum = 0;
  const auto p = [](int k) { return std::exp(-1 - std::lgamma(k + 1.0)); };
  for (int a = 0; a < 40; ++a) {
    for (int b = 0; b < 40; ++b) sum += p(a) * p(b) * std::max(a, b);
  }
  EXPECT_NEAR(poisson_max_mean(1, 2), sum, 1e-9);
  EXPECT_GT(poisson_max_mean(0.01, 64), 0.3);  // 64 ranks: one of them starts a prompt often enough
}

// Three ways in which ranks, experts and sequences differ, each by hand.
TEST(PlanFormulas, ARankWaitsForTheLongestContexts) {
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("GB200 NVL72");
  PlanScenario s = scenario(Phase::kDecode, 32, 288);
  s.isl = 1024;
  s.osl = 8192;
  const auto attention = [&](double context) {
    return decode_step(m, g, s, constants(), 64, context).of(StepTerm::kAttention);
  };
  // The part that grows with the context, against the same on one rank, which waits for nobody.
  const double differ = attention(5120) - attention(2560);
  s.gpus = s.ep = s.attention_dp = 1;
  s.slots = 256;
  const double alone = attention(5120) - attention(2560);
  const double cv = std::hypot(8192 / std::sqrt(12.0) / 5120, constants().sequence_spread);
  EXPECT_NEAR(differ / alone, 1 + cv * std::sqrt(2 * std::log(32.0) / 64), 1e-6);
}

TEST(PlanFormulas, UnequalExpertsCostMoreAtTheRidgeAndNothingFarFromIt) {
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("GB200 NVL72");
  PlanScenario s = scenario(Phase::kDecode, 16, 256);
  s.balancing = Balancing::kGiven;
  s.imbalance = 1;
  const auto against_equal = [&](double batch) {
    s.balancing = Balancing::kGiven;
    const double unequal = decode_step(m, g, s, constants(), batch, 4096).of(StepTerm::kExperts);
    s.balancing = Balancing::kPerfect;
    return unequal / decode_step(m, g, s, constants(), batch, 4096).of(StepTerm::kExperts);
  };
  EXPECT_NEAR(against_equal(1), 1, 0.01);
  EXPECT_GT(against_equal(400), 1.08);
  EXPECT_NEAR(against_equal(1e5), 1, 0.01);
}

TEST(PlanFormulas, TheFullestRankTakesItsRowsOverItsOwnLink) {
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("GB200 NVL72");
  PlanScenario s = scenario(Phase::kDecode, 32, 288);
  s.balancing = Balancing::kGiven;
  // What is no latency and no waiting for late ranks is bytes, and they follow the imbalance.
  PlanConstants c = constants();
  c.arrival_spread = 0;
  const auto bytes = [&](double imbalance) {
    s.imbalance = imbalance;
    return decode_step(m, g, s, c, 256, 4096).of(StepTerm::kDispatch) -
           58 * c.dispatch_scaleup_us * 1e-3;
  };
  EXPECT_NEAR(bytes(2.5) / bytes(1), 2.5, 1e-9);
}

TEST(PlanFormulas, AnExchangeWaitsForTheLastRank) {
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("GB200 NVL72");
  const PlanScenario s = scenario(Phase::kDecode, 32, 288);
  PlanConstants at_once = constants();
  at_once.arrival_spread = 0;
  const StepCost apart = decode_step(m, g, s, constants(), 64, 4096);
  const StepCost together = decode_step(m, g, s, at_once, 64, 4096);
  // 58 of the 61 attention layers are followed by an exchange.
  const double computing = apart.of(StepTerm::kAttention) * 58 / 61 +
                           apart.of(StepTerm::kOther) * 58 / 61 + apart.of(StepTerm::kExperts) +
                           apart.of(StepTerm::kShared);
  EXPECT_NEAR(apart.step_ms - together.step_ms,
              constants().arrival_spread * std::sqrt(2 * std::log(32)) * computing, 1e-9);
}

TEST(PlanFormulas, TheAttentionCoreIsAsFastWithTwiceTheExponentials) {
  // MLA blocks of GB300 beside those of GB200, in two engines: equal to 2 %.
  const PlanModel m = model("R1");
  PlanGpu fast = gpu("GB200 NVL72");
  fast.exponentials_per_s *= 2;
  const PlanScenario s = scenario(Phase::kDecode, 32, 288);
  EXPECT_EQ(decode_step(m, fast, s, constants(), 64, 4096).step_ms,
            decode_step(m, gpu("GB200 NVL72"), s, constants(), 64, 4096).step_ms);
  const PlanScenario prompts = scenario(Phase::kPrefill, 32, 288);
  EXPECT_LT(prefill_pass(m, fast, prompts, constants(), 32).step_ms,
            prefill_pass(m, gpu("GB200 NVL72"), prompts, constants(), 32).step_ms);
}

TEST(PlanFormulas, BalancingGainsInPrefillAndDecodeWhatIsPublished) {
  // H100, FP8: 1.49 times the prefill of EP32, 2.54 times the decode of EP72 at 256 sequences.
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("H100 SXM");
  const auto gain = [&](Phase phase, double ep) {
    PlanScenario s = scenario(phase, ep, 288);
    s.overlap = PlanOverlap::kTwoBatch;
    const auto step_ms = [&](double slots, Balancing balancing) {
      s.slots = slots;
      s.balancing = balancing;
      return phase == Phase::kPrefill ? prefill_pass(m, g, s, constants(), ep).step_ms
                                      : decode_step(m, g, s, constants(), 256, 2050).step_ms;
    };
    // 256 experts do not divide by 72: without balancing there are 288 slots too, only untuned.
    const bool divides = phase == Phase::kPrefill;
    return step_ms(divides ? 256 : 288, divides ? Balancing::kNone : Balancing::kUntuned) /
           step_ms(288, Balancing::kStatic);
  };
  EXPECT_NEAR(gain(Phase::kPrefill, 32), 1.49, 0.15);
  EXPECT_NEAR(gain(Phase::kDecode, 72), 2.54, 0.15);
}

TEST(PlanFormulas, OfAPromptsTimeTheExpertsPartIsSpreadOverTheGroup) {
  const PlanModel m = model("R1");
  PlanScenario s = scenario(Phase::kPrefill, 32, 288);
  const auto pass = [&] { return prefill_pass(m, gpu("H100 SXM"), s, constants(), 32); };
  const StepCost plain = pass();
  const PromptTime time = prompt_time(plain, s);
  EXPECT_NEAR(time.seconds(1, 1) * s.tokens_per_gpu, plain.step_ms * 1e-3, 1e-12);
  EXPECT_NEAR(time.spread_s * s.tokens_per_gpu * 1e3,
              plain.of(StepTerm::kExperts) / constants().prefill_share, 1e-9);
  // Half batches hide a part of the experts behind the exchange: as much less is seen of them.
  s.overlap = PlanOverlap::kTwoBatch;
  EXPECT_LT(prompt_time(pass(), s).spread_s, 0.5 * time.spread_s);
  EXPECT_GE(prompt_time(pass(), s).spread_s, 0);
}

TEST(PlanFormulas, EachDraftPassHasItsHostPart) {
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("GB200 NVL72");
  PlanScenario s = scenario(Phase::kDecode, 32, 288);
  s.mtp_k = 3;
  PlanConstants slow = constants();
  slow.host_ms += 1;
  const StepCost at = decode_step(m, g, s, constants(), 16, 4096);
  const StepCost later = decode_step(m, g, s, slow, 16, 4096);
  EXPECT_NEAR(later.step_ms - at.step_ms, 4, 1e-9);
  EXPECT_NEAR(later.of(StepTerm::kDraft) - at.of(StepTerm::kDraft), 3, 1e-9);
}

TEST(PlanFormulas, ExpertsFallWithTheWidthAndTheExchangeStays) {
  // 32 sequences per GPU, FP4: the experts' time of a step over EP4 to EP64, as published.
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("GB200 NVL72");
  const std::pair<double, double> published[] = {
      {4, 16.7}, {8, 8.9}, {16, 5.4}, {32, 3.1}, {64, 2.0}};
  double least = 1e9, most = 0, first = 0;
  for (const auto& [ep, ms] : published) {
    PlanScenario s = scenario(Phase::kDecode, ep, ep < 16 ? 256 : 288);
    s.experts = s.dispatch = PlanDType::kNvfp4;
    const StepCost step = decode_step(m, g, s, constants(), 32, 4608);
    const double experts = step.of(StepTerm::kExperts);
    if (first == 0) first = experts;
    EXPECT_NEAR(experts / ms, 1, 0.25) << "EP" << ep;
    const double exchange = step.of(StepTerm::kDispatch) + step.of(StepTerm::kCombine);
    least = std::min(least, exchange);
    most = std::max(most, exchange);
  }
  EXPECT_LT(most / least, 1.3);
}

TEST(PlanFormulas, TwoHalfBatchesLoseAtFewRowsAndWinAtMany) {
  const PlanModel m = model("R1");
  const PlanGpu g = gpu("H800");
  PlanScenario s = scenario(Phase::kDecode, 128, 288);
  const auto gain = [&](double batch) {
    s.overlap = PlanOverlap::kNone;
    const double alone = decode_step(m, g, s, constants(), batch, 4608).step_ms;
    s.overlap = PlanOverlap::kTwoBatch;
    return alone / decode_step(m, g, s, constants(), batch, 4608).step_ms;
  };
  EXPECT_LT(gain(16), 1);
  EXPECT_GT(gain(256), 1.1);
}

}  // namespace
}  // namespace wingspan::test
