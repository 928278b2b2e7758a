#include "eplb_files/formats.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "eplb_files/matrices.h"
#include "support/paths.h"

namespace wingspan {
namespace {

using test::golden_path;

Json read_json(const std::string& path) {
  std::ifstream in(path);
  return Json::parse(in);
}

std::vector<std::string> samples() {
  std::vector<std::string> out;
  for (const auto& engine : std::filesystem::directory_iterator(golden_path("eplb/formats"))) {
    for (const auto& sample : std::filesystem::directory_iterator(engine.path())) {
      out.push_back(sample.path().string());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string input_of(const std::string& sample, const Json& expected) {
  const auto& files = expected["files"];
  return files.size() == 1 ? sample + "/" + files[0].get<std::string>() : sample;
}

void check_counts(const CountTable& total, const Json& rows) {
  ASSERT_EQ(total.layers(), rows.size());
  for (size_t l = 0; l < rows.size(); ++l) {
    ASSERT_EQ(total.experts(), rows[l].size());
    for (size_t e = 0; e < rows[l].size(); ++e) {
      if (rows[l][e].is_number_integer() && total.is_whole()) {
        ASSERT_EQ(total.whole_at(l, e), rows[l][e].get<int64_t>()) << l << "," << e;
      } else {
        ASSERT_DOUBLE_EQ(total.at(l, e), rows[l][e].get<double>()) << l << "," << e;
      }
    }
  }
}

void check_load(const std::string& path, const Json& expected, EplbFormat format) {
  const auto load = read_recorded_load(real_files(), path, format);
  if (expected.contains("error")) {
    EXPECT_FALSE(load);
    if (!load) {
      EXPECT_NE(load.error().where.find(path), std::string::npos);
    }
    return;
  }
  if (!load && expected.contains("may_refuse")) return;
  ASSERT_TRUE(load) << load.error().message();
  EXPECT_EQ(load->format, expected["format"].get<std::string>());
  EXPECT_EQ(load->experts, expected["experts"].get<int>());
  if (expected.contains("layer_ids")) {
    EXPECT_EQ(load->layers, expected["layer_ids"].get<std::vector<int>>());
  } else {
    EXPECT_EQ(load->layers, row_numbers(load->layers.size()));
  }
  check_counts(load->total().value(), expected["load"]);
}

void check_placement(const std::string& path, const Json& expected) {
  const auto placement = read_recorded_placement(real_files(), path);
  ASSERT_TRUE(placement) << placement.error().message();
  EXPECT_EQ(placement->format, expected["format"].get<std::string>());
  EXPECT_EQ(placement->experts, expected["experts"].get<int>());
  EXPECT_EQ(placement->slot_to_expert,
            expected["slot_to_expert"].get<std::vector<std::vector<int>>>());
  if (expected.contains("layer_ids")) {
    EXPECT_EQ(placement->layers, expected["layer_ids"].get<std::vector<int>>());
  }
}

TEST(Formats, ReadEverySampleByNameAndByContent) {
  const auto all = samples();
  ASSERT_GT(all.size(), 40U);
  for (const std::string& sample : all) {
    SCOPED_TRACE(sample);
    const Json expected = read_json(sample + "/expected.json");
    const std::string path = input_of(sample, expected);
    if (expected["kind"] == "placement") {
      check_placement(path, expected);
      continue;
    }
    const auto format = eplb_format_from_name(expected["format"].get<std::string>());
    ASSERT_TRUE(format);
    check_load(path, expected, *format);
    check_load(path, expected, EplbFormat::kAuto);
  }
}

Placement example(const std::vector<int>& layers) {
  Placement out = replicated_placement(16, layers, 4, 4, 7);
  return out;
}

TEST(Formats, WhatIsWrittenIsReadBack) {
  for (const char* name : {"sglang", "tensorrt-llm", "vllm", "ascend"}) {
    SCOPED_TRACE(name);
    const Placement placement = example({3, 4, 6});
    const auto text = placement_for_engine(placement, *eplb_format_from_name(name));
    ASSERT_TRUE(text);
    const std::string path = test::temporary_directory() + "/" + name;
    ASSERT_TRUE(real_files().write_text(path, *text));
    const auto back = read_recorded_placement(real_files(), path);
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(back->format, name);
    EXPECT_EQ(back->experts, 16);
    for (const LayerPlacement& layer : placement.layers) {
      const auto row = std::find(back->layers.begin(), back->layers.end(), layer.layer);
      ASSERT_NE(row, back->layers.end());
      EXPECT_EQ(back->slot_to_expert[static_cast<size_t>(row - back->layers.begin())],
                layer.slot_to_expert);
    }
  }
}

// Keys of every object on the way, in lists by their first entry.
std::string shape_of(const Json& json) {
  if (json.is_array()) return json.empty() ? "[]" : "[" + shape_of(json[0]) + "]";
  if (!json.is_object()) return json.is_number() ? "number" : json.type_name();
  std::string out = "{";
  for (const auto& [key, value] : json.items()) {
    const bool layer = key.find_first_not_of("0123456789") == std::string::npos;
    if (layer && out.find("<layer>") != std::string::npos) continue;
    out += (layer ? "<layer>" : key) + ":" + shape_of(value) + ",";
  }
  return out + "}";
}

TEST(Formats, WhatIsWrittenHasTheShapeOfTheRealFiles) {
  const Placement placement = example({0, 1, 2});
  const auto written = [&](const char* name) {
    return Json::parse(placement_for_engine(placement, *eplb_format_from_name(name)).value());
  };
  const std::string root = golden_path("eplb/formats/");
  EXPECT_EQ(shape_of(written("sglang")),
            shape_of(read_json(root + "sglang/init_map_json/init_expert_location.json")));
  EXPECT_EQ(shape_of(written("vllm")),
            shape_of(read_json(root + "vllm/initial_mapping/mapping.jsonl")));
  EXPECT_EQ(shape_of(written("ascend")),
            shape_of(read_json(root + "ascend/expert_map/expert_map.json")));
  const std::string yaml = placement_for_engine(placement, EplbFormat::kTensorrtLlm).value();
  for (const char* key :
       {"initial_global_assignments:\n  0: [", "layer_updates_per_iter: 0\n", "num_slots: 20\n"}) {
    EXPECT_NE(yaml.find(key), std::string::npos) << key;
  }
}

TEST(Formats, RanksOfDifferentSizeHaveNoFormElsewhere) {
  Placement placement = contiguous_placement(8, {0}, 3);
  const auto text = placement_for_engine(placement, EplbFormat::kSglang);
  ASSERT_FALSE(text);
  EXPECT_NE(text.error().what.find("different size"), std::string::npos);
}

}  // namespace
}  // namespace wingspan
