// Bad usage and bad input: one line on stderr, the right exit code, nothing half-written.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "placement/placement.h"
#include "support/paths.h"
#include "support/process.h"
#include "support/rounds.h"

namespace wingspan::test {
namespace {

void expect_error(const std::vector<std::string>& arguments, int code,
                  const std::string& mentions) {
  const Finished f = run_wingspan(arguments);
  SCOPED_TRACE(fmt::format("{}", fmt::join(arguments, " ")));
  EXPECT_EQ(f.exit_code, code) << f.err;
  EXPECT_EQ(f.err.rfind("wingspan: error: ", 0), 0U) << f.err;
  EXPECT_EQ(std::count(f.err.begin(), f.err.end(), '\n'), 1) << f.err;
  EXPECT_NE(f.err.find(mentions), std::string::npos) << f.err;
  EXPECT_EQ(f.out, "");
}

TEST(Errors, Usage) {
  expect_error({}, 2, "subcommand");
  expect_error({"fly"}, 2, "fly");
  expect_error({"generate"}, 2, "--model");
  expect_error({"generate", "--model", wren()}, 2, "prompt");
  expect_error({"generate", "--model", wren(), "--wings", "2"}, 2, "wings");
  expect_error({"lab"}, 2, "subcommand");
  expect_error({"bench"}, 2, "--synthetic");
}

TEST(Errors, Numbers) {
  const std::vector<std::string> base = {"generate", "--model", wren(), "--prompt", "a"};
  const auto with = [&](const char* option, const char* value, const char* mentions) {
    auto arguments = base;
    arguments.insert(arguments.end(), {option, value});
    expect_error(arguments, 2, mentions);
  };
  with("--ep", "0", "--ep");
  with("--ep", "-3", "--ep");
  with("--ep", "1000000000", "--ep");
  with("--ep", "two", "--ep");
  with("--threads", "0", "--threads");
  with("--prefill-chunk", "0", "--prefill-chunk");
  with("--temperature", "-1", "--temperature");
  with("--temperature", "nan", "temperature");
  with("--top-p", "1.5", "--top-p");
  with("--max-tokens", "-1", "--max-tokens");
  with("--max-tokens", "5000", "1024");
  with("--compute", "f16", "--compute");
  with("--compute", "fp8", "FP8");
  with("--kernel", "fast", "--kernel");
  with("--transport", "tcp", "--transport");
  with("--redundant", "-1", "--redundant");
  with("--placement", "nowhere.json", "nowhere.json");
  with("--stop", "", "stop");
  with("--prompt-ids", "1,2", "several");
}

TEST(Errors, Prompts) {
  expect_error({"generate", "--model", wren(), "--prompt", ""}, 2, "empty");
  expect_error({"generate", "--model", wren(), "--prompt", "a\xff"}, 2, "UTF-8");
  expect_error({"generate", "--model", wren(), "--prompt-ids", "1,,2"}, 2, "1,,2");
  expect_error({"generate", "--model", wren(), "--prompt-ids", "1,4096"}, 2, "4096");
  expect_error({"generate", "--model", wren(), "--prompt-ids", "-1"}, 2, "-1");
  expect_error({"generate", "--model", wren(), "--prompt-file", "no.txt"}, 2, "no.txt");
  expect_error({"generate", "--model", golden_path("models/deepseek_v3"), "--prompt", "a"}, 2,
               "tokenizer.json");
  const std::string batch = temporary_directory() + "/b.jsonl";
  const auto line = [&](const std::string& text, const char* mentions) {
    std::ofstream(batch) << "{\"prompt\":\"a\"}\n" << text << "\n";
    expect_error({"generate", "--model", wren(), "--batch", batch}, 2, mentions);
  };
  line("{", ":2");
  line("[]", ":2");
  line("{}", "prompt_ids");
  line(R"({"prompt":7})", "prompt");
  line(R"({"prompt_ids":[1.5]})", "prompt_ids");
  line(R"({"prompt_ids":[]})", "empty");
  line(R"({"prompt":"a","max_tokens":-1})", "max_tokens");
  line(R"({"messages":[]})", "messages");
  line(R"({"messages":[{"role":"user","content":7}]})", "messages");
  line(R"({"messages":[{"role":"user","content":"a"}],"prompt":"b"})", "prompt_ids");
}

TEST(Errors, Models) {
  expect_error({"inspect", "nowhere"}, 2, "nowhere");
  expect_error({"generate", "--model", "nowhere", "--prompt", "a"}, 2, "nowhere");
  expect_error({"inspect", wren(), "--hardware", "abacus"}, 2, "H200");
  expect_error({"inspect", wren(), "--ep", "8,zero"}, 2, "--ep");
  const std::string copy = temporary_directory() + "/m";
  std::filesystem::copy(golden_path("models/deepseek_v3"), copy);
  const auto weights = copy + "/model-00002-of-00003.safetensors";
  ASSERT_TRUE(std::filesystem::exists(weights));
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) / 2);
  expect_error({"generate", "--model", copy, "--prompt-ids", "1"}, 2, "safetensors");
  std::filesystem::remove(weights);
  expect_error({"generate", "--model", copy, "--prompt-ids", "1"}, 2, "model-00002");
  std::ofstream(copy + "/config.json") << "{";
  expect_error({"generate", "--model", copy, "--prompt-ids", "1"}, 2, "config.json");
}

TEST(Errors, AModelThatDoesNotFitIsRefusedWithNumbers) {
  expect_error({"generate", "--model", wren(), "--prompt", "a", "--memory-gb", "0.01"}, 2,
               "shared weights");
}

TEST(Errors, PlacementsForSomethingElse) {
  const std::string path = temporary_directory() + "/p.json";
  const auto with = [&](const Placement& p, const char* ep, const char* mentions) {
    ASSERT_TRUE(write_placement(real_files(), path, p, "test"));
    expect_error({"generate", "--model", wren(), "--prompt", "a", "--ep", ep, "--placement", path},
                 2, mentions);
  };
  with(contiguous_placement(128, {1, 2, 3, 4}, 4), "4", "128 experts");
  with(contiguous_placement(256, {1, 2, 3}, 4), "4", "layer 4");
  with(contiguous_placement(256, {1, 2, 3, 4, 6}, 4), "4", "layer 6");
  with(contiguous_placement(256, {1, 2, 3, 4}, 4), "8", "--ep 4");
}

// The running placement, the load and the model have to be of one kind.
TEST(Errors, FilesThatDisagreeAreBothNamed) {
  const std::string load = temporary_directory() + "/load.json";
  const std::string path = temporary_directory() + "/running.json";
  std::ofstream(load) << R"({"format":"wingspan-load","version":1,"model":"m","experts":8,)"
                      << R"("layers":[3,4],"windows":[{"first_step":0,"steps":1,"tokens":4,)"
                      << R"("load":[[1,2,3,4,5,6,7,8],[8,7,6,5,4,3,2,1]]}]})";
  const auto with = [&](const Placement& p, const char* ranks, const char* mentions,
                        bool both = true) {
    ASSERT_TRUE(write_placement(real_files(), path, p, "test"));
    expect_error({"balance", "--load", load, "--ranks", ranks, "--current", path}, 2, mentions);
    if (!both) return;
    expect_error({"balance", "--load", load, "--ranks", ranks, "--current", path}, 2, path);
    expect_error({"balance", "--load", load, "--ranks", ranks, "--current", path}, 2, load);
  };
  with(contiguous_placement(8, {3, 4, 5}, 2), "2", "3 layers, the load 2");
  with(contiguous_placement(8, {3}, 2), "2", "only the load has layer 4");
  with(contiguous_placement(8, {3, 7}, 2), "2", "layer 4");
  with(contiguous_placement(16, {3, 4}, 2), "2", "16 experts, the load 8");
  with(contiguous_placement(8, {3, 4}, 4), "2", "4 ranks, --ranks is 2", false);
  Placement grouped = contiguous_placement(8, {3, 4}, 2);
  grouped.topology.nodes = 2;
  grouped.topology.groups = 4;
  with(grouped, "2", "2 nodes and 4 groups", false);
  expect_error({"balance", "--load", load, "--ranks", "2", "--model", wren()}, 2, "256 experts");
}

// Memory that the system refuses is one line and no signal, wherever it strikes.
TEST(Errors, AnAddressSpaceLimitIsOneLine) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer reserves the address space itself";
  for (int mb = 40; mb <= 700; mb += 20) {
    SCOPED_TRACE(fmt::format("{} MB", mb));
    const Finished f = run_process(
        {"sh", "-c",
         fmt::format("ulimit -v {}; exec {} generate --model {} --ep 4 --prompt hi --max-tokens 2 "
                     "--json",
                     mb * 1000, WINGSPAN_BINARY, wren())});
    EXPECT_FALSE(f.timed_out);
    if (f.exit_code == 127) continue;  // the loader found no room for the libraries
    EXPECT_TRUE(f.exit_code == 0 || f.exit_code == 1 || f.exit_code == 2) << f.exit_code << f.err;
    EXPECT_LE(std::count(f.err.begin(), f.err.end(), '\n'), 1) << f.err;
    if (f.exit_code == 0) continue;
    EXPECT_EQ(f.err.rfind("wingspan: error: the system refuses", 0), 0U) << f.err;
  }
}

TEST(Errors, AReaderThatLeavesEndsTheCommandQuietly) {
  // The pipe's reader is gone before the command writes.
  const Finished f = run_process(
      {"bash", "-c",
       fmt::format("{} inspect {} --json | (exec 0<&-; sleep 0.3); echo ${{PIPESTATUS[0]}}",
                   WINGSPAN_BINARY, wren())});
  EXPECT_EQ(f.out, "141\n");
  EXPECT_EQ(f.err, "");
}

TEST(Errors, WeightsThatAreNotFiniteAreRefused) {
  const std::string copy = temporary_directory() + "/m";
  std::filesystem::copy(golden_path("models/deepseek_v3"), copy);
  const std::string shard = copy + "/model-00002-of-00003.safetensors";
  const auto size = std::filesystem::file_size(shard);
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  // Every kind of number is two or four bytes, whose last two tell what it is.
  file.seekp(static_cast<std::streamoff>(size) - 4);
  file.write("\xc0\x7f\xc0\x7f", 4);
  file.close();
  for (const char* command : {"generate", "verify"}) {
    const Finished f = run_wingspan({command, "--model", copy, "--prompt-ids", "1,2"});
    EXPECT_EQ(f.exit_code, 2) << f.err;
    EXPECT_NE(f.err.find("the weights are not finite: tensor model."), std::string::npos) << f.err;
  }
}

TEST(Errors, OutputsThatCannotBeWrittenLeaveNothing) {
  const std::string directory = temporary_directory();
  expect_error({"score", "--model", wren(), "--ids", "1,2", "--json", "--logits",
                directory + "/no/such/l.safetensors"},
               1, "l.safetensors");
  // A disk that takes 4 KiB.
  const std::string target = directory + "/l.safetensors";
  const Finished f = run_wingspan(
      {"score", "--model", wren(), "--ids", "1,2,3", "--json", "--logits", target}, 60, 4096);
  EXPECT_EQ(f.exit_code, 1) << f.err;
  EXPECT_NE(f.err.find("l.safetensors"), std::string::npos) << f.err;
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  const Finished full =
      run_process({"sh", "-c", fmt::format("{} inspect {} > /dev/full", WINGSPAN_BINARY, wren())});
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_NE(full.err.find("stdout"), std::string::npos) << full.err;
}

}  // namespace
}  // namespace wingspan::test
