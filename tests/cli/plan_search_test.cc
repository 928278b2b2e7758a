// wingspan plan search from outside, and the headline from the formulas themselves.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/json.h"
#include "cli/plan_inputs.h"
#include "plan/predict_serving.h"
#include "plan/search.h"
#include "support/paths.h"
#include "support/process.h"

namespace wingspan::test {
namespace {

std::vector<std::string> r1(std::vector<std::string> more) {
  std::vector<std::string> all = {"plan",   "search", "--model", "R1",   "--hardware", "GB200",
                                  "--gpus", "72",     "--isl",   "4096", "--osl",      "1024"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST(PlanSearch, EveryCandidateIsWhatPredictSays) {
  const Finished f = run_wingspan(r1({"--ttft-ms", "1000", "--itl-ms", "10", "--json"}));
  ASSERT_EQ(f.exit_code, 0) << f.err;
  const Json d = Json::parse(f.out);
  ASSERT_FALSE(d["pareto"].empty());
  std::vector<Json> shown(d["pareto"].begin(), d["pareto"].begin() + 2);
  shown.push_back(d["recommended"]);
  shown.push_back(d["runner_up"]);
  for (const Json& c : shown) {
    const std::string path = temporary_directory() + "/scenario.json";
    std::ofstream(path) << c["scenario"].dump();
    const Finished p = run_wingspan(
        {"plan", "predict", "--model", "R1", "--hardware", "GB200", "--scenario", path, "--json"});
    ASSERT_EQ(p.exit_code, 0) << p.err;
    const Json predicted = Json::parse(p.out);
    const auto close = [&](const Json& a, const Json& b) {
      EXPECT_NEAR(a.get<double>(), b.get<double>(), 1e-9 * b.get<double>());
    };
    close(predicted["itl_ms"], c["itl_ms"]["mean"]);
    close(predicted["ttft_ms"], c["ttft_ms"]["mean"]);
    close(predicted["tokens_per_s_per_gpu"], c["tokens_per_s_per_gpu"]);
    close(predicted["usd_per_million_output_tokens"], c["usd_per_million_output_tokens"]);
    EXPECT_EQ(predicted["bound_by"], c["bound_by"]);
    EXPECT_LE(c["itl_ms"]["p95"].get<double>(), 10 * 1.001);
    EXPECT_LE(c["ttft_ms"]["p95"].get<double>(), 1000);
  }
  for (size_t i = 1; i < d["pareto"].size(); ++i) {
    const Json &a = d["pareto"][i - 1], &b = d["pareto"][i];
    EXPECT_LT(a["tokens_per_s_per_user"].get<double>(), b["tokens_per_s_per_user"].get<double>());
    EXPECT_GT(a["tokens_per_s_per_gpu"].get<double>(), b["tokens_per_s_per_gpu"].get<double>());
  }
  EXPECT_EQ(run_wingspan(r1({"--ttft-ms", "1000", "--itl-ms", "10", "--json"})).out, f.out);
}

TEST(PlanSearch, AnSlaThatNobodyMeetsIsExitOneAndNamesIt) {
  const Finished f = run_wingspan(r1({"--ttft-ms", "1000", "--itl-ms", "0.5"}));
  EXPECT_EQ(f.exit_code, 1);
  EXPECT_NE(f.err.find("--itl-ms 0.5"), std::string::npos) << f.err;
  EXPECT_TRUE(f.out.empty());
}

TEST(PlanSearch, BadInputIsExitTwoAndOneLine) {
  const std::string trace = temporary_directory() + "/broken.jsonl";
  std::ofstream(trace) << "{\"arrival_s\": 1}\n";
  const std::vector<std::vector<std::string>> bad = {
      {"--ttft-ms", "-1", "--itl-ms", "10"},
      {"--ttft-ms", "nan", "--itl-ms", "10"},
      {"--ttft-ms", "1e30", "--itl-ms", "10"},
      {"--ttft-ms", "1000", "--itl-ms", "10", "--percentile", "100"},
      {"--ttft-ms", "1000", "--itl-ms", "10", "--rate-rps", "0"},
      {"--ttft-ms", "1000", "--itl-ms", "10", "--arrivals", trace},
      {"--ttft-ms", "1000", "--itl-ms", "10", "--load", "missing.json"},
      {"--ttft-ms", "1000", "--itl-ms", "10", "--mtp-accepted", "2.5"},
      {"--ttft-ms", "1000", "--itl-ms", "10", "--calibrate", trace},
  };
  for (const auto& more : bad) {
    const Finished f = run_wingspan(r1(more));
    EXPECT_EQ(f.exit_code, 2) << fmt::format("{}", fmt::join(more, " "));
    EXPECT_EQ(f.err.find("wingspan: error: "), 0U) << f.err;
    EXPECT_EQ(std::count(f.err.begin(), f.err.end(), '\n'), 1) << f.err;
  }
}

TEST(PlanSearch, APictureThatCannotBeWrittenIsExitOne) {
  for (const char* flag : {"--html", "--svg"}) {
    const Finished f =
        run_wingspan(r1({"--ttft-ms", "1000", "--itl-ms", "10", flag, "no/such/folder/file"}));
    EXPECT_EQ(f.exit_code, 1);
    EXPECT_EQ(std::count(f.err.begin(), f.err.end(), '\n'), 1) << f.err;
    EXPECT_TRUE(f.out.empty());
  }
}

TEST(PlanSearch, ATraceAndAnAcceptanceChangeTheAnswer) {
  const std::string trace = temporary_directory() + "/trace.jsonl";
  std::ofstream out(trace);
  for (int i = 0; i < 40; ++i) {
    out << fmt::format("{{\"arrival_s\": {}, \"isl\": {}, \"osl\": 1024}}\n", i / 4,
                       2048 + 100 * i);
  }
  out.close();
  const std::vector<std::string> base = {"--ttft-ms", "2000", "--itl-ms", "10", "--json"};
  const auto run = [&](std::vector<std::string> more) {
    more.insert(more.end(), base.begin(), base.end());
    const Finished f = run_wingspan(r1(more));
    EXPECT_EQ(f.exit_code, 0) << f.err;
    return Json::parse(f.out);
  };
  const Json plain = run({});
  EXPECT_NE(run({"--arrivals", trace})["sensitivity"], plain["sensitivity"]);
  const Json none = run({"--mtp-accepted", "1"});
  EXPECT_FALSE(none["recommended"]["scenario"].contains("mtp"));
  EXPECT_TRUE(plain["recommended"]["scenario"].contains("mtp"));
}

// Best output tokens/s of a decode GPU at a user's speed, over batch, MTP depth and overlap.
double best_at(const PredictServing& formulas, int ep, double tokens_per_s_per_user) {
  double best = 0;
  for (int depth = 0; depth <= 3; ++depth) {
    for (const StepOverlap overlap :
         {StepOverlap::kNone, StepOverlap::kSingleBatch, StepOverlap::kTwoBatch}) {
      const DecodeShape shape{ep, 1, 288, depth, overlap, 1};
      const double most = formulas.max_batch_per_gpu(shape, false);
      for (double batch = 0.25; batch < most; batch *= 1.03) {
        const double itl_ms = formulas.step(shape, batch, false, 0).itl_ms;
        if (itl_ms * tokens_per_s_per_user > 1000) break;
        best = std::max(best, batch / itl_ms * 1e3);
      }
    }
  }
  return best;
}

TEST(PlanSearch, TheHeadlineOfWideEpComesOutOfTheFormulas) {
  PlanScenario base;
  base.experts = base.dispatch = PlanDType::kNvfp4;
  base.kv = PlanDType::kFp8;
  base.osl = 1024;
  for (const double isl : {4096.0, 8192.0}) {
    base.isl = isl;
    const PredictServing formulas(*plan_model("R1"), *plan_gpu("GB200"), *plan_constants(""), base);
    const double at_100 = best_at(formulas, 32, 100) / best_at(formulas, 8, 100);
    const double at_25 = best_at(formulas, 32, 25) / best_at(formulas, 8, 25);
    EXPECT_GE(at_100, 1.5) << isl;
    EXPECT_LE(at_100, 2.1) << isl;
    EXPECT_NEAR(at_25, 1, 0.15) << isl;
  }
}

}  // namespace
}  // namespace wingspan::test
