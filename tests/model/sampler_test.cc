// The edges of the sampling rules: what is drawn always is a token that the rules leave.
#include "model/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/fpmode.h"
#include "base/rng.h"
#include "kernels/kernels.h"

namespace wingspan::test {
namespace {

class SamplerEdges : public ::testing::Test {
 protected:
  int32_t draw(const SamplingRule& rule, const TokenHistory& history = {}, int64_t position = 5) {
    const FlushSubnormals mode;  // as on a rank's thread
    const LogitSummary summary = summarize(**choose_kernels("portable"), logits_);
    return sampler_.sample(rule, history, logits_, summary, position);
  }
  std::vector<float> logits_ = {1, 3, 2.5F, 3, -4, 0};
  Sampler sampler_{6};
};

TEST_F(SamplerEdges, TheSmallestLimitsKeepTheMostProbableToken) {
  SamplingRule rule;
  rule.temperature = 1;
  // The smallest positive double is flushed to zero there.
  for (const double least : {1e-320, 5e-324, 1e-300, 1e-9}) {
    rule.top_p = least;
    for (int64_t position = 0; position < 50; ++position) EXPECT_EQ(draw(rule, {}, position), 1);
  }
  rule.top_p = 1;
  rule.min_p = 1;
  for (int64_t position = 0; position < 50; ++position) {
    const int32_t token = draw(rule, {}, position);
    EXPECT_TRUE(token == 1 || token == 3) << token;
  }
}

TEST_F(SamplerEdges, TiesGoToTheLowestId) {
  EXPECT_EQ(draw({}), 1);
  SamplingRule rule;
  rule.temperature = 2;
  rule.top_k = 1;
  EXPECT_EQ(draw(rule), 1);
  std::vector<int32_t> best;
  top_tokens(logits_, 4, best);
  EXPECT_EQ(best, (std::vector<int32_t>{1, 3, 2, 0}));
}

TEST_F(SamplerEdges, EachRuleChangesWhatItSays) {
  const std::vector<std::pair<int32_t, float>> bias = {{4, 100.0F}};
  SamplingRule rule;
  rule.logit_bias = bias;
  EXPECT_EQ(draw(rule), 4);
  const std::vector<int32_t> forbidden = {4, 1};
  rule.forbidden = forbidden;
  EXPECT_EQ(draw(rule), 3) << "no bias brings a forbidden id back";
  const std::vector<int32_t> output = {1, 3, 1};
  SamplingRule penalty;
  penalty.frequency_penalty = 0.3;  // 3 - 0.6, 3 - 0.3
  EXPECT_EQ(draw(penalty, {{}, output}), 3);
  penalty.frequency_penalty = 0;
  penalty.presence_penalty = 1;
  EXPECT_EQ(draw(penalty, {{}, output}), 2);
  SamplingRule repetition;
  repetition.repetition_penalty = 2;
  EXPECT_EQ(draw(repetition, {output, {}}), 2) << "tokens of the prompt count too";
}

TEST_F(SamplerEdges, ADrawDependsOnSeedAndPositionAloneAndStaysWithinTheRules) {
  Rng rng(4);
  for (int round = 0; round < 2000; ++round) {
    SCOPED_TRACE(round);
    for (float& x : logits_) x = static_cast<float>(4 * rng.normal());
    SamplingRule rule;
    rule.temperature = 0.1 + 2 * rng.uniform();
    rule.top_k = static_cast<int64_t>(rng.below(7));
    rule.top_p = rng.below(3) == 0 ? 1 : rng.uniform() + 1e-12;
    rule.min_p = rng.below(3) == 0 ? rng.uniform() : 0;
    rule.seed = rng.next();
    const int32_t token = draw(rule, {}, round);
    ASSERT_GE(token, 0);
    ASSERT_LT(token, 6);
    EXPECT_EQ(draw(rule, {}, round), token);
    if (rule.top_k == 0) continue;
    std::vector<int32_t> best;
    top_tokens(logits_, static_cast<int>(rule.top_k), best);
    EXPECT_NE(std::find(best.begin(), best.end(), token), best.end());
  }
}

}  // namespace
}  // namespace wingspan::test
