// The factor that is learned from an engine's records.
#include "plan/calibrate.h"

#include <cmath>

#include "plan/cases.h"

namespace wingspan::test {
namespace {

std::vector<StepRecord> records(double factor, Phase phase, int count) {
  std::vector<StepRecord> out;
  const PlanScenario s = scenario(Phase::kDecode, 32, 288);
  for (int i = 0; i < count; ++i) {
    // Every fifth step stalls; around the others a spread of two percent.
    const double noise = i % 5 == 4 ? 9 : 1 + 0.02 * (i % 5 - 1.5) / 1.5;
    StepRecord r{phase, 0, 16.0 + 4 * i, (16.0 + 4 * i) * 4600};
    const PlanModel m = model("R1");
    if (phase == Phase::kDecode) {
      r.wall_ms = decode_step(m, gpu("GB200"), s, constants(), r.rows, 4600).step_ms;
    } else {
      PlanScenario pass = s;
      pass.tokens_per_gpu = r.rows = 4096.0 + 512 * i;
      r.kv_tokens = 0;
      r.wall_ms = prefill_pass(m, gpu("GB200"), pass, constants(), 32).step_ms;
    }
    r.wall_ms *= factor * noise;
    out.push_back(r);
  }
  return out;
}

TEST(Calibrate, FindsTheFactorThroughStalls) {
  const PlanScenario s = scenario(Phase::kDecode, 32, 288);
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    const Calibration c =
        calibrate(model("R1"), gpu("GB200"), s, constants(), records(1.4, phase, 40));
    const EngineFactor& e = phase == Phase::kDecode ? c.decode : c.prefill;
    EXPECT_EQ(e.records, 40);
    EXPECT_NEAR(e.factor, 1.4, 0.03);
    EXPECT_LT(e.low, e.factor);
    EXPECT_GT(e.high, e.factor);
    EXPECT_EQ((phase == Phase::kDecode ? c.prefill : c.decode).records, 0);
  }
}

TEST(Calibrate, EveryPartOfTheStepAndItsLinesCarryTheFactor) {
  PlanScenario s = scenario(Phase::kDecode, 32, 288);
  s.batch_per_gpu = 32;
  const PlanModel m = model("R1");
  const Prediction plain = need(predict(m, gpu("GB200"), s, constants()));
  const Calibration c = calibrate(m, gpu("GB200"), s, constants(), records(1.4, s.phase, 40));
  std::vector<std::string> said;
  ASSERT_TRUE(use_calibration(c, "records", s, &said));
  ASSERT_EQ(said.size(), 1U);
  Trace trace;
  const Prediction p = need(predict(m, gpu("GB200"), s, constants(), &trace));
  EXPECT_NEAR(p.step.step_ms, plain.step.step_ms * c.decode.factor, 1e-9 * p.step.step_ms);
  double parts = 0, lines = 0;
  for (const double ms : p.step.ms) parts += ms;
  for (const TraceLine& line : trace) lines += line.us * line.times * 1e-3;
  EXPECT_NEAR(parts, p.step.step_ms, 1e-9 * parts);
  EXPECT_NEAR(lines, p.step.step_ms, 1e-6 * parts);
  EXPECT_NEAR(p.tokens_per_s_per_gpu * c.decode.factor, plain.tokens_per_s_per_gpu, 1e-6 * parts);
  EXPECT_LT(p.interval_low, p.tokens_per_s_per_gpu);
  EXPECT_GT(p.interval_high, p.tokens_per_s_per_gpu);
  // What was learned of decode says nothing of prefill.
  PlanScenario prefill = scenario(Phase::kPrefill, 8, 256);
  EXPECT_FALSE(use_calibration(c, "records", prefill, nullptr));
}

TEST(Calibrate, BadRecordsNameTheirLine) {
  const std::string good = "{\"wall_ms\":9,\"rows\":8,\"kv_tokens\":100}\n";
  EXPECT_EQ(need(parse_step_records(good + good + good + good + "\n" + good, "f")).size(), 5U);
  for (const char* bad :
       {"{\"wall_ms\":-1,\"rows\":8,\"kv_tokens\":1}",
        "{\"wall_ms\":NaN,\"rows\":8,\"kv_tokens\":1}",
        "{\"wall_ms\":9,\"rows\":1e30,\"kv_tokens\":1}", "{\"wall_ms\":9,\"rows\":8}",
        "{\"wall_ms\":9,\"rows\":8,\"kv_tokens\":1,\"speed\":1}", "[]", "{", "7",
        "{\"phase\":\"both\",\"wall_ms\":9,\"rows\":8,\"kv_tokens\":1}",
        "{\"phase\":\"prefill\",\"wall_ms\":9,\"rows\":8,\"kv_tokens\":1}"}) {
    const auto r = parse_step_records(good + good + bad, "f");
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().exit_code(), 2);
    EXPECT_NE(r.error().message().find("f:3"), std::string::npos) << r.error().message();
  }
  EXPECT_FALSE(parse_step_records("", "f"));
  EXPECT_FALSE(parse_step_records(good + good + good + good, "f"));
}

}  // namespace
}  // namespace wingspan::test
