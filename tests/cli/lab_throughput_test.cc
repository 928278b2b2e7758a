// wingspan lab throughput: four ways to serve, measured and predicted.
#include <gtest/gtest.h>

#include <fstream>

#include "base/files.h"
#include "base/json.h"
#include "support/paths.h"
#include "support/process.h"
#include "support/run_json.h"

namespace wingspan::test {
namespace {

Json styles(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"lab", "throughput"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_json(arguments)["rows"];
}

TEST(LabThroughput, MeasuresFourWaysAndAWiderGroupSharesEachWeightLoad) {
  const std::string page = temporary_directory() + "/throughput.html";
  const Json rows = styles({"--model", wren(), "--standard", "4", "--wide", "16",
                            "--batch-per-rank", "2", "--html", page});
  ASSERT_EQ(rows.size(), 4U);
  const auto here = [&](size_t i, const char* key) {
    return rows[i]["measured"][key].get<double>();
  };
  // Dense: all 4 x 2 tokens of the group pass every expert.
  EXPECT_DOUBLE_EQ(here(0, "tokens_per_weight_load"), 8);
  EXPECT_LT(here(1, "tokens_per_weight_load"), here(2, "tokens_per_weight_load"));
  EXPECT_DOUBLE_EQ(here(2, "tokens_per_weight_load"), here(3, "tokens_per_weight_load"));
  // The plan is made for the very load that is then served.
  EXPECT_GT(here(3, "balancedness"), here(2, "balancedness"));
  EXPECT_GT(here(3, "balancedness"), 0.95);
  const auto html = real_files().read_text(page, 1 << 26);
  ASSERT_TRUE(html);
  for (const char* label : {"measured", "predicted", "Wide-EP16 + EPLB"}) {
    EXPECT_NE(html->find(label), std::string::npos) << label;
  }
  EXPECT_EQ(html->find("http"), std::string::npos);
}

// The prediction is plan predict's, at the largest batch that holds the limit.
TEST(LabThroughput, PredictsTheLargestBatchWithinTheLimit) {
  const Json rows = styles({"--no-measure", "--itl-ms", "25"});
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_TRUE(rows[0]["measured"].is_null());
  double last = 0;
  for (const Json& row : rows) {
    EXPECT_LE(row["predicted"]["itl_ms"].get<double>(), 25);
    EXPECT_GT(row["predicted"]["tokens_per_s_per_gpu"].get<double>(), last) << row["style"];
    last = row["predicted"]["tokens_per_s_per_gpu"];
  }
  const auto itl = [](double batch) {
    Json s = Json::parse(R"({"phase":"decode","gpus":32,"ep":32,"slots":288,"isl":4096,"osl":1024,
      "dtype":{"experts":"nvfp4","attention":"fp8","kv":"fp8","dispatch":"nvfp4",
      "combine":"bf16"}})");
    s["batch_per_gpu"] = batch;
    const std::string path = temporary_directory() + "/s.json";
    std::ofstream(path) << s;
    return run_json({"plan", "predict", "--model", "R1", "--hardware", "GB200", "--scenario",
                     path})["itl_ms"]
        .get<double>();
  };
  const double batch = rows[3]["predicted"]["batch_per_gpu"];
  EXPECT_DOUBLE_EQ(itl(batch), rows[3]["predicted"]["itl_ms"].get<double>());
  EXPECT_GT(itl(batch + 1), 25);
}

TEST(LabThroughput, AnUnreachableLimitIsAnAnswerAndBadInputAnError) {
  for (const Json& row : styles({"--no-measure", "--itl-ms", "1"})) {
    EXPECT_TRUE(row["predicted"].is_null()) << row;
  }
  const std::vector<std::vector<std::string>> bad = {{"--no-measure", "--wide", "8"},
                                                     {},
                                                     {"--no-measure", "--rack-model", "nothing"},
                                                     {"--no-measure", "--itl-ms", "-1"}};
  for (const auto& more : bad) {
    std::vector<std::string> arguments = {"lab", "throughput"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Finished f = run_wingspan(arguments);
    EXPECT_EQ(f.exit_code, 2) << f.out << f.err;
    EXPECT_TRUE(f.out.empty());
  }
}

}  // namespace
}  // namespace wingspan::test
