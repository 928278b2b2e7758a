#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "base/rng.h"
#include "eplb_files/engine_formats.h"
#include "eplb_files/formats.h"
#include "support/paths.h"

namespace wingspan {
namespace {

using test::golden_path;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

std::string option(const Json& args, const std::string& name) {
  for (size_t i = 0; i + 1 < args.size(); ++i) {
    if (args[i] == name) return args[i + 1];
  }
  return "";
}

void expect_refused(const Error& error, const Json& entry, const std::string& path) {
  EXPECT_EQ(error.exit_code(), 2);
  const std::string message = lower(error.message());
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_NE(message.find(lower(path)), std::string::npos) << message;
  const auto& words = entry["message_mentions_any"];
  EXPECT_TRUE(std::any_of(words.begin(), words.end(),
                          [&](const Json& word) {
                            return message.find(lower(word.get<std::string>())) !=
                                   std::string::npos;
                          }))
      << message << "\nnone of " << words.dump();
}

TEST(Hostile, LoadsAreRefusedWithTheReason) {
  std::ifstream in(golden_path("eplb/hostile/expected.json"));
  const Json expected = Json::parse(in);
  const std::string root = golden_path("eplb/hostile/");
  int checked = 0;
  for (const Json& entry : expected["cases"]) {
    const std::string file = entry["file"];
    if (file.starts_with("argument:") || !option(entry["args"], "--current").empty()) continue;
    SCOPED_TRACE(file);
    ++checked;
    std::string path = option(entry["args"], "--load");
    path = root + (path == "{file}" ? file : path);
    const std::string name = option(entry["args"], "--format");
    const auto format = name.empty() ? EplbFormat::kAuto : *eplb_format_from_name(name);
    const auto load = read_recorded_load(real_files(), path, format);
    EXPECT_FALSE(load);
    if (!load) expect_refused(load.error(), entry, path);
    if (std::filesystem::is_directory(path)) continue;
    EXPECT_FALSE(read_recorded_load(real_files(), path, EplbFormat::kAuto));
  }
  EXPECT_GT(checked, 80);
  EXPECT_FALSE(std::filesystem::exists("wingspan_canary_executed"));
}

TEST(Hostile, PlacementsAreRefusedOrReadWithinBounds) {
  std::ifstream in(golden_path("eplb/hostile/expected.json"));
  const Json expected = Json::parse(in);
  int refused = 0;
  for (const Json& entry : expected["cases"]) {
    const std::string file = entry["file"];
    if (file.starts_with("argument:") || option(entry["args"], "--current").empty()) continue;
    SCOPED_TRACE(file);
    const std::string path = golden_path("eplb/hostile/" + file);
    const auto placement = read_recorded_placement(real_files(), path);
    // Whether a readable placement suits the load is the command's to say.
    if (placement) continue;
    ++refused;
    expect_refused(placement.error(), entry, path);
  }
  EXPECT_GT(refused, 18);
  EXPECT_FALSE(std::filesystem::exists("wingspan_canary_executed"));
}

// Every sample with a few bytes changed or cut: any answer is right, a crash is not.
TEST(Hostile, DamagedSamplesNeverCrash) {
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(golden_path("eplb/formats"))) {
    const std::string path = entry.path().string();
    if (entry.is_regular_file() && !path.ends_with("expected.json")) files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  const std::string copy = test::temporary_directory() + "/damaged";
  for (size_t i = 0; i < files.size(); ++i) {
    if (files[i].ends_with(".safetensors")) continue;
    const std::string whole = real_files().read_text(files[i], 1 << 24).value();
    for (uint64_t seed = 0; seed < 25; ++seed) {
      SCOPED_TRACE(testing::Message() << files[i] << " seed " << seed);
      Rng rng(seed, i);
      std::string bytes = whole;
      for (uint64_t n = 1 + rng.below(4); n > 0; --n) {
        bytes[rng.below(bytes.size())] = static_cast<char>(rng.below(256));
      }
      if (rng.below(4) == 0) bytes.resize(rng.below(bytes.size()));
      std::ofstream(copy, std::ios::binary) << bytes;
      (void)read_recorded_load(real_files(), copy, EplbFormat::kAuto);
      (void)read_recorded_placement(real_files(), copy);
    }
  }
}

TEST(Hostile, PicklesNestAndShareWithoutHarm) {
  std::string deep(1 << 20, ']');
  EXPECT_TRUE(Pickle::parse(deep + ".", "deep"));
  std::string opcodes = std::string("\x80\x02", 2) + "cposix\nsystem\n.";
  const auto refused = Pickle::parse(opcodes, "file");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("posix.system"), std::string::npos);
}

}  // namespace
}  // namespace wingspan
