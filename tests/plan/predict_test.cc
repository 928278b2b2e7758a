// Properties of the planner's formulas on a made-up model and GPU.
#include "plan/predict.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "support/paths.h"

namespace wingspan {
namespace {

PlanModel made_up_model() {
  PlanModel m;
  m.name = "made up";
  m.layers = 40;
  m.dense_layers = 2;
  m.hidden = 4096;
  m.dense_width = 12288;
  m.vocab = 100000;
  m.experts = 128;
  m.top_k = 8;
  m.expert_width = 1536;
  m.heads = 64;
  m.kv_heads = 4;
  m.head_dim = 128;
  return m;
}

PlanGpu made_up_gpu() {
  PlanGpu g;
  g.name = "made up";
  g.bf16 = 1e15;
  g.fp8 = 2e15;
  g.hbm_bytes = 140e9;
  g.hbm_bytes_per_s = 4.8e12;
  g.scaleup_bytes_per_s = 450e9;
  g.scaleup_domain = 8;
  g.scaleout_bytes_per_s = 50e9;
  g.exponentials_per_s = 3.7e12;
  return g;
}

PlanScenario made_up_scenario(double ep) {
  PlanScenario s;
  s.gpus = s.ep = s.attention_dp = ep;
  s.slots = 128;
  s.batch_per_gpu = 32;
  s.isl = 2000;
  s.osl = 500;
  return s;
}

PlanConstants constants() {
  std::ifstream file(test::source_path("data/plan_constants.csv"));
  std::stringstream text;
  text << file.rdbuf();
  return parse_constants(parse_csv(text.str(), "constants").value()).value();
}

TEST(Predict, PartsSumToTheStep) {
  for (const double ep : {1.0, 8.0, 32.0}) {
    const auto p = predict(made_up_model(), made_up_gpu(), made_up_scenario(ep), constants());
    ASSERT_TRUE(p) << p.error().message();
    double sum = 0;
    for (const double part : p->step.ms) sum += part;
    EXPECT_NEAR(sum, p->step.step_ms, 1e-9 * sum);
    EXPECT_GT(p->step.step_ms, 0);
  }
}

TEST(Predict, MoreBandwidthNeverSlowsIt) {
  for (const double ep : {1.0, 8.0, 32.0}) {
    const double base = predict(made_up_model(), made_up_gpu(), made_up_scenario(ep), constants())
                            .value()
                            .tokens_per_s_per_gpu;
    for (double PlanGpu::*link : {&PlanGpu::hbm_bytes_per_s, &PlanGpu::scaleup_bytes_per_s,
                                  &PlanGpu::scaleout_bytes_per_s}) {
      PlanGpu faster = made_up_gpu();
      faster.*link *= 1.5;
      EXPECT_GE(predict(made_up_model(), faster, made_up_scenario(ep), constants())
                    .value()
                    .tokens_per_s_per_gpu,
                base * (1 - 1e-12));
    }
  }
}

TEST(Predict, RefusesWhatDoesNotFit) {
  PlanGpu small = made_up_gpu();
  small.hbm_bytes = 10e9;
  PlanScenario s = made_up_scenario(1);
  s.batch_per_gpu.reset();
  const auto p = predict(made_up_model(), small, s, constants());
  ASSERT_FALSE(p);
  EXPECT_EQ(p.error().exit_code(), 1);
}

}  // namespace
}  // namespace wingspan
