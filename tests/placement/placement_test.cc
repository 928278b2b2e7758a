// Placements: the simple ones obey the rules, files round-trip, and each broken file is named.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/rng.h"
#include "placement/load.h"
#include "placement/placement.h"

namespace wingspan::test {
namespace {

TEST(Placement, SimpleOnesObeyTheRulesForAnyNumbers) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Rng rng(seed);
    const int experts = 1 + static_cast<int>(rng.below(70));
    const int ranks = 1 + static_cast<int>(rng.below(90));
    const int redundant = static_cast<int>(rng.below(40));
    const std::vector<int> layers = {1, 4};
    for (const Placement& p : {contiguous_placement(experts, layers, ranks, redundant),
                               shuffled_placement(experts, layers, ranks, seed, redundant),
                               replicated_placement(experts, layers, ranks, redundant, seed)}) {
      const Status status = p.validate();
      EXPECT_TRUE(status) << status.error().message();
      EXPECT_EQ(p.topology.slots(), experts + redundant);
      EXPECT_EQ(p.layers.size(), 2U);
      const auto [least, most] =
          std::minmax_element(p.topology.rank_slots.begin(), p.topology.rank_slots.end());
      EXPECT_LE(*most - *least, 1);
    }
  }
}

TEST(Placement, FilesReadBackWhatWasWritten) {
  const Placement p = replicated_placement(10, {0, 3}, 4, 5, 9);
  const auto back = parse_placement(placement_to_json(p, "because"), "p.json");
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->topology, p.topology);
  ASSERT_EQ(back->layers.size(), 2U);
  EXPECT_EQ(back->layers[1].slot_to_expert, p.layers[1].slot_to_expert);
}

struct Broken {
  const char* name;
  const char* path;
  const char* value;
  const char* says;
};
void PrintTo(const Broken& b, std::ostream* out) { *out << b.name; }

class BrokenPlacements : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenPlacements, AreNamed) {
  Json json = Json::parse(placement_to_json(contiguous_placement(8, {0, 1}, 4, 2), "r"));
  const Broken& b = GetParam();
  json[Json::json_pointer(b.path)] = Json::parse(b.value);
  const auto parsed = parse_placement(json.dump(), "p.json");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().exit_code(), 2);
  EXPECT_NE(parsed.error().message().find(b.says), std::string::npos) << parsed.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenPlacements,
    ::testing::Values(Broken{"Format", "/format", "\"other\"", "format"},
                      Broken{"Version", "/version", "2", "version"},
                      Broken{"Experts", "/experts", "9", "rule 2"},
                      Broken{"ExpertsNegative", "/experts", "-8", "experts"},
                      Broken{"ExpertsHuge", "/experts", "1e18", "experts"},
                      Broken{"Slot", "/layers/0/slot_to_expert/3", "8", "rule 1"},
                      Broken{"SlotText", "/layers/0/slot_to_expert/3", "\"1\"", "slot_to_expert"},
                      Broken{"Missing", "/layers/1/slot_to_expert/9", "0", "rule"},
                      Broken{"Short", "/layers/1/slot_to_expert", "[0,1,2]", "length"},
                      Broken{"Twice", "/layers/1/layer", "0", "layer 0"},
                      Broken{"Layers", "/layers", "{}", "layers"}),
    [](const auto& test) { return test.param.name; });

TEST(Placement, AnAvoidableDuplicateBreaksRule3) {
  Placement p = contiguous_placement(4, {0}, 2, 2);
  p.layers[0].slot_to_expert = {0, 0, 1, 2, 3, 1};
  const Status status = p.validate();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("rule 3"), std::string::npos);
}

TEST(Load, ReadsItsFormsExactly) {
  const auto full = parse_load(
      R"({"format":"wingspan-load","version":1,"model":"m","experts":2,"layers":[3],
          "windows":[{"first_step":0,"steps":1,"tokens":4,"load":[[9007199254740993,1]]}]})",
      "l.json");
  ASSERT_TRUE(full) << full.error().message();
  EXPECT_EQ(full->windows[0].load[0][0], 9007199254740993);
  const auto back = parse_load(load_to_json(*full), "l.json");
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->windows[0].load, full->windows[0].load);
  const auto brief = parse_load(R"({"experts":3,"load":[[1,2,3],[4,5,6]]})", "s.json");
  ASSERT_TRUE(brief);
  EXPECT_EQ(brief->layers, (std::vector<int>{0, 1}));
  for (const char* bad : {R"({"experts":2,"load":[[1,-2]]})", R"({"experts":2,"load":[[1,2,3]]})",
                          R"({"experts":2,"load":[[1,1.5]]})", R"({"experts":2,"load":[[1,true]]})",
                          R"({"experts":2,"load":[[1,9223372036854775808]]})",
                          R"({"load":[[1,2]]})", "[]", "7", ""}) {
    EXPECT_FALSE(parse_load(bad, "b.json")) << bad;
  }
}

TEST(Load, RankLoadsSplitReplicasEvenlyAndTheBoundHolds) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Rng rng(seed);
    const int experts = 1 + static_cast<int>(rng.below(30)),
              ranks = 1 + static_cast<int>(rng.below(9));
    const Placement p =
        replicated_placement(experts, {0}, ranks, static_cast<int>(rng.below(12)), seed);
    std::vector<int64_t> load;
    for (int e = 0; e < experts; ++e) load.push_back(static_cast<int64_t>(rng.below(1000)));
    const auto loads = rank_loads(p.topology, p.layers[0], load);
    const double total = static_cast<double>(std::accumulate(load.begin(), load.end(), int64_t{0}));
    EXPECT_NEAR(std::accumulate(loads.begin(), loads.end(), 0.0), total, 1e-6 * (total + 1));
    const LayerReport report = report_layer(p.topology, p.layers[0], load);
    EXPECT_GE(report.max_rank_load, report.lower_bound * (1 - 1e-12));
    EXPECT_GE(report.balancedness, 0);
    EXPECT_LE(report.balancedness, 1);
  }
}

}  // namespace
}  // namespace wingspan::test
