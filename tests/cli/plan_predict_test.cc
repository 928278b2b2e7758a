// wingspan plan predict and explain as a user runs them.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/json.h"
#include "support/paths.h"
#include "support/process.h"

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

Json run(std::vector<std::string> arguments) {
  arguments.push_back("--json");
  const Finished f = run_wingspan(arguments);
  EXPECT_EQ(f.exit_code, 0) << f.err;
  return f.exit_code == 0 ? Json::parse(f.out) : Json();
}

std::vector<std::string> asked(const std::string& verb, const std::string& scenario) {
  return {"plan", verb, "--model", "R1", "--hardware", "GB200", "--scenario", scenario};
}

TEST(PlanCommand, PredictGivesTheFieldsOfItsContract) {
  const Json p = run(asked("predict", written("s.json", kScenario)));
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
  const Json p = run(asked("predict", path)), e = run(asked("explain", path));
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
  const Json c = run(arguments);
  double sum = 0;
  for (const auto& [part, ms] : c["difference_ms"].items()) sum += ms.get<double>();
  EXPECT_NEAR(sum, c["step_ms"].get<double>(), 1e-6);
  EXPECT_LT(c["difference_ms"]["experts"].get<double>(), 0);
  EXPECT_EQ(c["first"]["memory"]["fits"], true);
}

TEST(PlanCommand, ARecordedLoadTakesTheModesPlace) {
  Json load = {{"experts", 256}, {"load", Json::array()}};
  Json layer = Json::array();
  for (int e = 0; e < 256; ++e) layer.push_back(e == 0 ? 100000 : 10 + e % 7);
  load["load"].push_back(layer);
  auto arguments = asked("predict", written("s.json", kScenario));
  arguments.insert(arguments.end(), {"--load", written("load.json", load.dump())});
  const double imbalance = run(arguments)["imbalance"];
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
