// wingspan plan predict and explain as a user runs them.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/files.h"
#include "base/json.h"
#include "support/paths.h"
#include "support/process.h"
#include "support/run_json.h"

namespace wingspan::test {
namespace {

constexpr const char* kScenario = R"({"phase":"decode","gpus":32,"ep":32,"slots":288,
  "batch_per_gpu":64,"isl":4096,"osl":1024,"dtype":{"experts":"nvfp4","attention":"fp8",
  "kv":"fp8","dispatch":"nvfp4","combine":"bf16"}})";

std::string written(const std::string& name, const std::string& text) {
  const std::string path = temporary_directory() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

std::vector<std::string> asked(const std::string& verb, const std::string& scenario) {
  return {"plan", verb, "--model", "R1", "--hardware", "GB200", "--scenario", scenario};
}

TEST(PlanCommand, PredictGivesTheFieldsOfItsContract) {
  const Json p = run_json(asked("predict", written("s.json", kScenario)));
  for (const char* key :
       {"phase", "step_ms", "itl_ms", "ttft_ms", "batch_per_gpu", "batch_source",
        "tokens_per_s_per_gpu", "total_tokens_per_s_per_gpu", "usd_per_million_output_tokens",
        "bound_by", "imbalance", "breakdown_ms", "memory", "interval", "assumptions"}) {
    EXPECT_TRUE(p.contains(key)) << key;
  }
  EXPECT_TRUE(p["ttft_ms"].is_null());
  EXPECT_EQ(p["batch_source"], "scenario");
  double sum = 0;
  for (const auto& [part, ms] : p["breakdown_ms"].items()) sum += ms.get<double>();
  EXPECT_NEAR(sum, p["step_ms"].get<double>(), 1e-6);
}

TEST(PlanCommand, ExplainAgreesWithPredictAndSaysWhere) {
  const std::string path = written("s.json", kScenario);
  const Json p = run_json(asked("predict", path)), e = run_json(asked("explain", path));
  for (const auto& [key, value] : p.items()) EXPECT_EQ(e[key], value) << key;
  double last = 1e9;
  for (const Json& part : e["parts"]) {
    EXPECT_LE(part["ms"].get<double>(), last);
    last = part["ms"];
    EXPECT_FALSE(part["lines"].empty()) << part["part"];
  }
  for (const Json& constant : e["constants"]) {
    EXPECT_FALSE(constant["source"].get<std::string>().empty()) << constant["name"];
  }
  EXPECT_GE(e["what_if"].size(), 5u);
}

TEST(PlanCommand, CompareExplainsTheDifferencePartByPart) {
  std::string narrow = kScenario;
  narrow.replace(narrow.find("32,\"ep\":32,\"slots\":288"), 22, "8,\"ep\":8,\"slots\":256");
  auto arguments = asked("explain", written("8.json", narrow));
  arguments.insert(arguments.end(), {"--compare", written("32.json", kScenario)});
  const Json c = run_json(arguments);
  double sum = 0;
  for (const auto& [part, ms] : c["difference_ms"].items()) sum += ms.get<double>();
  EXPECT_NEAR(sum, c["step_ms"].get<double>(), 1e-6);
  EXPECT_LT(c["difference_ms"]["experts"].get<double>(), 0);
  EXPECT_EQ(c["first"]["memory"]["fits"], true);
}

// 256 experts on 64 GPUs are 4 on each, 232 in all 58 layers; on 72 GPUs 288 slots are 4 again, so
// a GPU reads and serves as much, and the replicas change the balance by less than rounding.
// The prediction of a scenario that the documentation names.
Json documented(const std::string& name) {
  return run_json(asked("predict", source_path("docs/scenarios/" + name)));
}

TEST(PlanCommand, SeventyTwoGpusServeNoMorePerGpuThanSixtyFour) {
  const Json narrow = documented("r1-ep64.json"), wide = documented("r1-ep72.json");
  const double one_expert = 3 * 7168.0 * 2048 * 0.5625;
  for (const Json& p : {narrow, wide}) {
    EXPECT_NEAR(p["memory"]["experts_bytes"].get<double>(), 232 * one_expert, 1);
  }
  EXPECT_NEAR(
      wide["tokens_per_s_per_gpu"].get<double>() / narrow["tokens_per_s_per_gpu"].get<double>(), 1,
      0.01);
  EXPECT_NEAR(wide["imbalance"].get<double>(), narrow["imbalance"].get<double>(), 0.01);
}

TEST(PlanCommand, TheHeadlinesScenariosServeTheSameSpeed) {
  const Json narrow = documented("r1-ep8-100-tokens-a-user.json"),
             wide = documented("r1-ep32-100-tokens-a-user.json");
  for (const Json& p : {narrow, wide}) EXPECT_NEAR(p["itl_ms"].get<double>(), 10, 0.05);
  const double gain =
      wide["tokens_per_s_per_gpu"].get<double>() / narrow["tokens_per_s_per_gpu"].get<double>();
  EXPECT_GE(gain, 1.5);
  EXPECT_LE(gain, 2.1);
}

TEST(PlanCommand, ValidateWritesWhatThePageHoldsAndAPicture) {
  const std::string page = temporary_directory() + "/validate.html";
  const Finished f = run_wingspan({"plan", "predict", "--validate", "--markdown", "--html", page});
  ASSERT_EQ(f.exit_code, 0) << f.err;
  const auto doc = real_files().read_text(source_path("docs/planner-accuracy.md"), 1 << 20);
  ASSERT_TRUE(doc);
  const std::string begin = "<!-- validate: begin -->\n", end = "<!-- validate: end -->";
  const size_t from = doc->find(begin), to = doc->find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  EXPECT_EQ(doc->substr(from + begin.size(), to - from - begin.size()), f.out)
      << "docs/planner-accuracy.md is not what the program prints";
  const auto html = real_files().read_text(page, 1 << 26);
  ASSERT_TRUE(html);
  EXPECT_NE(html->find("<svg"), std::string::npos);
  EXPECT_NE(html->find("TB-1"), std::string::npos);
  EXPECT_EQ(html->find("<script"), std::string::npos);
  const Json all = run_json({"plan", "predict", "--validate"});
  EXPECT_GT(all["rows"].size(), 100U);
  EXPECT_EQ(run_wingspan({"plan", "predict", "--html", page}).exit_code, 2);
  EXPECT_EQ(run_wingspan({"plan", "predict", "--validate", "--markdown", "--json"}).exit_code, 2);
}

// Records of an engine that is 1.5 times slower than the formulas.
TEST(PlanCommand, CalibrateLearnsTheEnginesFactor) {
  const std::string scenario = written("s.json", kScenario);
  const Json plain = run_json(asked("predict", scenario));
  std::string lines;
  for (int i = 0; i < 5; ++i) {
    lines += Json({{"phase", "decode"},
                   {"wall_ms", 1.5 * plain["step_ms"].get<double>()},
                   {"rows", 64},
                   {"kv_tokens", 64 * 4608}})
                 .dump() +
             "\n";
  }
  auto arguments = asked("predict", scenario);
  arguments.insert(arguments.end(), {"--calibrate", written("records.jsonl", lines)});
  const Json slower = run_json(arguments);
  EXPECT_NEAR(slower["step_ms"].get<double>() / plain["step_ms"].get<double>(), 1.5, 0.02);
  EXPECT_TRUE(slower.contains("calibration"));
  arguments[1] = "explain";
  EXPECT_NEAR(run_json(arguments)["step_ms"].get<double>(), slower["step_ms"].get<double>(), 1e-9);
  arguments.back() = written("records.jsonl", "{\"rows\":-1}\n");
  EXPECT_EQ(run_wingspan(arguments).exit_code, 2);
}

TEST(PlanCommand, ARecordedLoadTakesTheModesPlace) {
  Json load = {{"experts", 256}, {"load", Json::array()}};
  Json layer = Json::array();
  for (int e = 0; e < 256; ++e) layer.push_back(e == 0 ? 100000 : 10 + e % 7);
  load["load"].push_back(layer);
  auto arguments = asked("predict", written("s.json", kScenario));
  arguments.insert(arguments.end(), {"--load", written("load.json", load.dump())});
  const double imbalance = run_json(arguments)["imbalance"];
  // 32 more slots at most: the hot expert's share lies on no more than 32 ranks.
  EXPECT_GE(imbalance, 1);
  EXPECT_LT(imbalance, 1.3);
  arguments.back() = written("other.json", R"({"experts":4,"load":[[1,2,3,4]]})");
  const Finished other = run_wingspan(arguments);
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.err.find("4 experts"), std::string::npos) << other.err;
}

TEST(PlanCommand, BadInputAndWhatCannotRunHaveTheirExitCodes) {
  const auto code = [](const std::string& model, const std::string& gpu, const std::string& text) {
    const Finished f = run_wingspan({"plan", "predict", "--model", model, "--hardware", gpu,
                                     "--scenario", written("s.json", text), "--json"});
    EXPECT_TRUE(f.out.empty());
    EXPECT_EQ(std::count(f.err.begin(), f.err.end(), '\n'), 1) << f.err;
    return f.exit_code;
  };
  std::string alone = kScenario;
  alone.replace(alone.find("32,\"ep\":32,\"slots\":288"), 22, "1,\"ep\":1,\"slots\":256");
  EXPECT_EQ(code("R1", "H100", alone), 1);
  EXPECT_EQ(code("nothing", "GB200", kScenario), 2);
  EXPECT_EQ(code("qwen3", "GB200", kScenario), 2);
  EXPECT_EQ(code("R1", "abacus", kScenario), 2);
  EXPECT_EQ(code("R1", "GB200", "{\"phase\":"), 2);
  EXPECT_EQ(code("R1", "GB200", R"({"phase":"decode","gpus":1,"ep":2})"), 2);
}

}  // namespace
}  // namespace wingspan::test
