// The command line from outside: documents, goldens, exit codes, the one error line.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "placement/load.h"
#include "support/golden.h"
#include "support/paths.h"
#include "support/process.h"
#include "support/run_json.h"

namespace wingspan::test {
namespace {

using Ids = std::vector<int32_t>;

std::string joined(const Ids& ids) { return fmt::format("{}", fmt::join(ids, ",")); }

TEST(Generate, WrenContinuesAsTheReferenceDoes) {
  const auto text = real_files().read_text(golden_path("wren/golden.json"), 1 << 26);
  ASSERT_TRUE(text);
  const Json golden = Json::parse(*text);
  for (const Json& p : golden["prompts"]) {
    const Json out = run_json({"generate", "--model", wren(), "--prompt", p["prompt"], "--compute",
                               "f32", "--max-tokens", "64", "--ignore-eos"});
    EXPECT_EQ(out["results"][0]["prompt_ids"], p["prompt_ids"]);
    const Ids want = p["greedy_ids"], got = out["results"][0]["output_ids"];
    ASSERT_EQ(got.size(), 64U);
    for (size_t i = 0; i < want.size(); ++i) {
      // Below this margin the last bit of a float decides (README of the goldens).
      if (p["margins"][i].get<double>() < 1e-3) break;
      EXPECT_EQ(got[i], want[i]) << p["domain"] << " step " << i;
    }
  }
}

TEST(Generate, TheDocumentHasItsKeys) {
  const Json out = run_json({"generate", "--model", wren(), "--prompt", "Es war", "--max-tokens",
                             "5", "--logprobs", "--ep", "3"});
  EXPECT_EQ(out["model"], "wren");
  EXPECT_EQ(out["ep"], 3);
  EXPECT_EQ(out["transport"], "loopback");
  EXPECT_EQ(out["compute"], "bf16");
  EXPECT_TRUE(out["kernel"].is_string());
  const Json& r = out["results"][0];
  EXPECT_EQ(r["id"], 0);
  EXPECT_EQ(r["output_ids"].size(), 5U);
  EXPECT_EQ(r["logprobs"].size(), 5U);
  EXPECT_TRUE(r["text"].is_string());
  EXPECT_EQ(r["finish_reason"], "length");
  EXPECT_EQ(out["usage"]["completion_tokens"], 5);
  for (const char* key :
       {"load_s", "prefill_s", "decode_s", "prefill_tokens_per_s", "decode_tokens_per_s"}) {
    EXPECT_TRUE(out["timing"][key].is_number()) << key;
  }
  EXPECT_GT(out["balance"]["balancedness"].get<double>(), 0);
  EXPECT_LE(out["balance"]["balancedness"].get<double>(), 1);
}

TEST(Generate, ADirectoryWithoutTokenizerWorksWithIds) {
  const Json out = run_json({"generate", "--model", golden_path("models/deepseek_v3"),
                             "--prompt-ids", "1,2,3", "--max-tokens", "4", "--ignore-eos"});
  EXPECT_TRUE(out["results"][0]["text"].is_null());
  EXPECT_EQ(out["results"][0]["output_ids"].size(), 4U);
}

TEST(Generate, SamplingDependsOnItsOwnSeedAlone) {
  const std::string batch = temporary_directory() + "/b.jsonl";
  std::ofstream(batch) << R"({"prompt":"def f():","seed":5,"id":"a"})"
                       << "\n"
                       << R"({"prompt":"Es war","seed":6,"id":7,"max_tokens":9})"
                       << "\n"
                       << R"({"prompt":"def f():","seed":5,"id":"c"})"
                       << "\n";
  const Json all = run_json({"generate", "--model", wren(), "--batch", batch, "--temperature",
                             "0.9", "--max-tokens", "20"});
  ASSERT_EQ(all["results"].size(), 3U);
  EXPECT_EQ(all["results"][0]["id"], "a");
  EXPECT_EQ(all["results"][1]["id"], 7);
  EXPECT_LE(all["results"][1]["output_ids"].size(), 9U);
  EXPECT_EQ(all["results"][0]["output_ids"], all["results"][2]["output_ids"]);
  const Json alone = run_json({"generate", "--model", wren(), "--prompt", "def f():", "--seed", "5",
                               "--temperature", "0.9", "--max-tokens", "20", "--ep", "5"});
  EXPECT_EQ(alone["results"][0]["output_ids"], all["results"][0]["output_ids"]);
  const Json other = run_json({"generate", "--model", wren(), "--prompt", "def f():", "--seed", "6",
                               "--temperature", "0.9", "--max-tokens", "20"});
  EXPECT_NE(other["results"][0]["output_ids"], all["results"][0]["output_ids"]);
}

TEST(Generate, AStopTextEndsAndIsCutOff) {
  const std::vector<std::string> base = {"generate",      "--model",      wren(), "--prompt",
                                         "Es war einmal", "--max-tokens", "30"};
  const Json free = run_json(base);
  const std::string text = free["results"][0]["text"];
  const std::string stop = text.substr(text.size() / 2, 3);
  auto with_stop = base;
  with_stop.insert(with_stop.end(), {"--stop", stop});
  const Json cut = run_json(with_stop);
  EXPECT_EQ(cut["results"][0]["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(cut["results"][0]["finish_reason"], "stop");
  EXPECT_LE(cut["results"][0]["output_ids"].size(), free["results"][0]["output_ids"].size());
}

TEST(Generate, StreamsTheSameTextThatTheDocumentHas) {
  const std::vector<std::string> base = {"generate",      "--model",      wren(), "--prompt",
                                         "Es war einmal", "--max-tokens", "20"};
  const Finished plain = run_wingspan(base);
  EXPECT_EQ(plain.exit_code, 0);
  const Json document = run_json(base);
  EXPECT_EQ(plain.out, "Es war einmal" + document["results"][0]["text"].get<std::string>() + "\n");
}

TEST(Generate, LoadsAndRoutingAreRecorded) {
  const std::string directory = temporary_directory();
  run_json({"generate", "--model", wren(), "--prompt", "def main", "--max-tokens", "4", "--ep", "4",
            "--record-load", directory + "/load.json", "--trace-routing",
            directory + "/trace.jsonl"});
  const auto load = read_load(real_files(), directory + "/load.json");
  ASSERT_TRUE(load) << load.error().message();
  EXPECT_EQ(load->experts, 256);
  EXPECT_EQ(load->layers, (std::vector<int>{1, 2, 3, 4}));
  std::ifstream trace(directory + "/trace.jsonl");
  std::string line;
  int64_t lines = 0, chosen = 0;
  while (std::getline(trace, line)) {
    const Json j = Json::parse(line);
    EXPECT_EQ(j["prompt"], 0);
    EXPECT_EQ(j["experts"].size(), 8U);
    EXPECT_EQ(j["weights"].size(), 8U);
    ++lines;
    chosen += 8;
  }
  int64_t counted = 0;
  for (const auto& layer : load->windows[0].load) {
    for (const int64_t n : layer) counted += n;
  }
  EXPECT_GT(lines, 0);
  EXPECT_EQ(counted, chosen);
}

TEST(Balance, APlanFromRecordedLoadsRunsAndKeepsTheBits) {
  const std::string plan = temporary_directory() + "/plan.json";
  const Finished made = run_wingspan({"balance", "--load", golden_path("wren/loads/mixed.json"),
                                      "--ranks", "8", "--redundant", "16", "--output", plan});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const std::vector<std::string> base = {"generate", "--model",      wren(), "--prompt",
                                         "Es war",   "--max-tokens", "12",   "--logprobs"};
  auto placed = base;
  placed.insert(placed.end(), {"--placement", plan});
  const Json want = run_json(base), got = run_json(placed);
  EXPECT_EQ(got["ep"], 8);
  EXPECT_EQ(got["results"], want["results"]);
}

TEST(Score, GivesTheLogprobsThatGenerateReported) {
  const Json made = run_json({"generate", "--model", wren(), "--prompt", "Le capitaine",
                              "--max-tokens", "12", "--logprobs", "--ignore-eos"});
  const Json& r = made["results"][0];
  Ids ids = r["prompt_ids"];
  const auto prompt = ids.size();
  for (const int32_t id : r["output_ids"]) ids.push_back(id);
  const Json scored = run_json({"score", "--model", wren(), "--ids", joined(ids), "--ep", "8"});
  const Json& logprobs = scored["results"][0]["logprobs"];
  ASSERT_EQ(logprobs.size(), ids.size() - 1);
  for (size_t i = 0; i < r["logprobs"].size(); ++i) {
    EXPECT_EQ(r["logprobs"][i], logprobs[prompt - 1 + i]) << i;
  }
  EXPECT_NEAR(scored["perplexity"].get<double>(), std::exp(scored["nll_per_token"].get<double>()),
              1e-9);
}

TEST(Score, WritesLogitsAndHiddenStates) {
  const std::string directory = temporary_directory();
  run_json({"score", "--model", golden_path("models/deepseek_v3"), "--ids", "5,6,7", "--ids", "8",
            "--compute", "f32", "--logits", directory + "/l.safetensors", "--hidden",
            directory + "/h.safetensors"});
  const Golden logits(directory + "/l.safetensors"), hidden(directory + "/h.safetensors");
  EXPECT_EQ(logits.floats("logits_0").size() % 3, 0U);
  EXPECT_TRUE(logits.has("logits_1"));
  EXPECT_EQ(hidden.floats("hidden_0_0").size(), 3U * 64);
  EXPECT_TRUE(hidden.has("hidden_1_2"));
}

TEST(Verify, PassesOnATinyModel) {
  const Json out = run_json({"verify", "--model", golden_path("models/deepseek_v2_lite"), "--ep",
                             "2,5,20", "--max-tokens", "4"});
  EXPECT_EQ(out["differing_bits"], 0);
  EXPECT_GT(out["configurations"].size(), 15U);
  EXPECT_GT(out["tokens_compared"].get<int64_t>(), 1000);
  EXPECT_TRUE(out["first_difference"].is_null());
}

TEST(Inspect, TellsWhatARankHolds) {
  const Json out = run_json({"inspect", wren(), "--ep", "8,64,72", "--hardware", "h200"});
  EXPECT_EQ(out["experts"], 256);
  EXPECT_EQ(out["ep"][0]["experts_per_rank"], 32);
  EXPECT_EQ(out["ep"][1]["experts_per_rank_all_layers"], 16);
  EXPECT_EQ(out["ep"][2]["experts_per_rank_least"], 3);
  EXPECT_GT(out["ep"][0]["kv_tokens_left"].get<double>(), 0);
}

TEST(Lab, RouteAndWidthRunAndWritePages) {
  const std::string page = temporary_directory() + "/p.html";
  const Json route = run_json({"lab", "route", "--model", wren(), "--html", page});
  ASSERT_EQ(route["routers"].size(), 3U);
  const auto touched = [&](size_t i) {
    return route["routers"][i]["groups_touched"].get<double>();
  };
  EXPECT_GT(touched(0), touched(1));  // groups bound what a token touches
  EXPECT_LE(touched(1), 4.0);
  const auto html = real_files().read_text(page, 1 << 26);
  ASSERT_TRUE(html);
  EXPECT_EQ(html->find("http"), std::string::npos);
  const Json width = run_json({"lab", "width", "--model", wren(), "--ep", "8,64"});
  EXPECT_EQ(width["rows"][0]["experts_per_rank"], 32);
  EXPECT_EQ(width["rows"][1]["experts_per_rank"], 4);
  EXPECT_GT(width["rows"][1]["tokens_per_expert"].get<double>(),
            width["rows"][0]["tokens_per_expert"].get<double>());
}

TEST(Lab, EplbBalancesAndRealTokensKeepExpertsAndBits) {
  const std::string page = temporary_directory() + "/eplb.html";
  const Json out = run_json({"lab", "eplb", "--model", wren(), "--ranks", "4", "--html", page});
  const Json& places = out["placements"];
  ASSERT_EQ(places.size(), 3U);
  EXPECT_EQ(places[0]["rank_load"], Json({1800, 1100, 500, 150}));
  EXPECT_EQ(places[1]["max_rank_load"], 1050);  // 1000 can't live with less than 50
  EXPECT_LT(places[2]["max_rank_load"].get<double>(), 1000);
  const Json& routing = out["routing"];
  EXPECT_GT(routing["choices"].get<int>(), 100);
  EXPECT_EQ(routing["choices"], routing["same_choices"]);
  EXPECT_GT(routing["compared_rows"].get<int>(), 20);
  EXPECT_EQ(routing["differing_bits"], 0);
  EXPECT_GT(routing["balancedness_after"].get<double>(),
            routing["balancedness_before"].get<double>());
  bool moved = false;
  for (const Json& token : routing["tokens"]) {
    EXPECT_EQ(token["experts_before"], token["experts_after"]);
    moved = moved || token["ranks_before"] != token["ranks_after"];
  }
  EXPECT_TRUE(moved);
  EXPECT_TRUE(real_files().read_text(page, 1 << 26));
}

TEST(Lab, EplbTakesAnyListOfLoads) {
  const std::string list = temporary_directory() + "/list.txt";
  ASSERT_TRUE(real_files().write_text(list, "5, 4 3\n2"));
  const Json out = run_json(
      {"lab", "eplb", "--model", wren(), "--load", list, "--ranks", "2", "--redundant", "0"});
  EXPECT_EQ(out["placements"][0]["rank_load"], Json({9, 5}));
  EXPECT_EQ(out["placements"][1]["rank_load"][0], 7);
}

TEST(Bench, SyntheticModelsRunWithoutFiles) {
  const Json out =
      run_json({"bench", "--synthetic", "1,64,8,2,32", "--vocab", "128", "--batch", "1,3", "--ep",
                "1,2", "--rounds", "1", "--decode-tokens", "4", "--prompt-tokens", "5"});
  EXPECT_EQ(out["rows"].size(), 4U);
  EXPECT_GT(out["probe"]["read_gb_s"].get<double>(), 0);
}

TEST(Version, NamesWhatIsBuiltIn) {
  const Finished f = run_wingspan({"--version"});
  EXPECT_EQ(f.exit_code, 0);
  for (const char* part : {"wingspan", "commit", "compiler", "cpu", "transports: loopback"}) {
    EXPECT_NE(f.out.find(part), std::string::npos) << part;
  }
}

TEST(Help, EachLevelHasAnExample) {
  for (const char* command :
       {"", "generate", "score", "verify", "inspect", "lab", "lab route", "lab eplb", "lab width",
        "lab throughput", "balance", "balance replay", "bench", "demo"}) {
    const Finished f =
        run_process({"sh", "-c", fmt::format("{} {} --help", WINGSPAN_BINARY, command)});
    EXPECT_EQ(f.exit_code, 0) << command;
    EXPECT_NE(f.out.find("wingspan "), std::string::npos) << command;
    EXPECT_NE(f.out.find("Example"), std::string::npos) << command;
  }
}

}  // namespace
}  // namespace wingspan::test
