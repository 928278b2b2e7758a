#include <fmt/format.h>

#include <algorithm>

#include "eplb_files/engine_formats.h"
#include "eplb_files/matrices.h"

namespace wingspan {
namespace {

constexpr size_t kMostLine = size_t{1} << 30;

// Calls `use(json, where)` for each line that is not blank.
template <class Use>
Status for_each_line(std::string_view text, const std::string& where, Use use) {
  size_t number = 0;
  while (!text.empty()) {
    ++number;
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}, line {}", where, number);
    auto json = parse_json(line, place, {.max_bytes = kMostLine});
    if (!json) {
      Error error = std::move(json).error();
      error.what = "the line is not complete JSON: " + error.what;
      error.fix = "remove the line; a server that is stopped while it writes leaves one";
      return Unexpected(std::move(error));
    }
    WS_RETURN_IF_ERROR(use(*json, place));
  }
  return {};
}

Expected<std::string> record_type(const JsonObject& record) {
  WS_ASSIGN(auto type, record.string("record_type"));
  if (type.starts_with("eplb_")) {
    WS_ASSIGN(const int64_t version, record.integer("version", INT64_MIN, INT64_MAX));
    if (version != 1) return record.bad("version", fmt::format("is {}; this reads 1", version));
  }
  return type;
}

Status add_stats(const JsonObject& record, RecordedLoad& load) {
  const std::string& where = record.where();
  for (const char* key : {"expert_load", "p2l_map"}) {
    if (!record.has(key)) return record.bad(key, "is missing");
  }
  WS_ASSIGN(const auto by_slot, count_table(record.json().at("expert_load"), "expert_load", where));
  WS_ASSIGN(const auto map, id_rows(record.json().at("p2l_map"), "p2l_map", where));
  if (map.size() != by_slot.layers() || map[0].size() != by_slot.experts()) {
    return record.bad("p2l_map",
                      fmt::format("has the shape [{}][{}], expert_load [{}][{}]", map.size(),
                                  map[0].size(), by_slot.layers(), by_slot.experts()));
  }
  const int experts = experts_named(map);
  if (static_cast<size_t>(experts) > map[0].size()) {
    return record.bad("p2l_map", fmt::format("names expert {} with {} slots: out of range",
                                             experts - 1, map[0].size()));
  }
  WS_ASSIGN(auto table, to_experts(by_slot, map, experts, where));
  if (load.windows.empty()) {
    load.experts = experts;
    load.layers = row_numbers(map.size());
  }
  if (experts != load.experts || map.size() != load.layers.size()) {
    return record.bad("expert_load",
                      fmt::format("has {} layers of {} experts, the steps before it {} of {}",
                                  map.size(), experts, load.layers.size(), load.experts));
  }
  load.windows.push_back({1, 0, std::move(table)});
  return {};
}

Expected<RecordedPlacement> read_mapping(const JsonObject& record) {
  WS_ASSIGN(const int64_t slots, record.integer("num_slots", 1, int64_t{1} << 24));
  WS_ASSIGN(const int64_t redundant, record.integer("num_redundant_experts", 0, slots - 1));
  WS_ASSIGN(const JsonObject layers, record.object("initial_global_assignments"));
  std::vector<std::pair<int64_t, std::vector<int>>> rows;
  for (const auto& [key, row] : layers.json().items()) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (key.empty() || key.size() > 9 || !std::all_of(key.begin(), key.end(), digit)) {
      return layers.bad(key.substr(0, 40), "is no layer number");
    }
    WS_ASSIGN(auto ids, id_row(row, "layer " + key, layers.where()));
    if (ids.size() != static_cast<size_t>(slots)) {
      return layers.bad(key, fmt::format("has length {}, not num_slots = {}", ids.size(), slots));
    }
    rows.emplace_back(std::stoll(key), std::move(ids));
  }
  std::sort(rows.begin(), rows.end());
  RecordedPlacement out;
  out.format = "vllm";
  out.experts = static_cast<int>(slots - redundant);
  for (auto& [layer, ids] : rows) {
    if (!out.layers.empty() && out.layers.back() == layer) {
      return layers.bad(std::to_string(layer), "stands twice (duplicate)");
    }
    out.layers.push_back(static_cast<int>(layer));
    out.slot_to_expert.push_back(std::move(ids));
  }
  WS_RETURN_IF_ERROR(
      check_one_length(out.slot_to_expert, "initial_global_assignments", record.where()));
  const int named = experts_named(out.slot_to_expert);
  if (named > out.experts) {
    return layers.bad("0", fmt::format("and others name expert {}, out of the range of {} experts",
                                       named - 1, out.experts));
  }
  return out;
}

}  // namespace

Expected<RecordedLoad> read_vllm_load(std::string_view text, const std::string& where) {
  RecordedLoad load;
  load.format = "vllm";
  const auto use = [&](const Json& json, const std::string& place) -> Status {
    WS_ASSIGN(const JsonObject record, JsonObject::from(json, place));
    WS_ASSIGN(const std::string type, record_type(record));
    if (type != "eplb_load_stats") return {};
    return add_stats(record, load);
  };
  WS_RETURN_IF_ERROR(for_each_line(text, where, use));
  if (load.windows.empty()) {
    return invalid_input("no record of the type eplb_load_stats", where,
                         "give the file of expert_load_stats_path");
  }
  return load;
}

Expected<RecordedPlacement> read_vllm_placement(std::string_view text, const std::string& where) {
  std::optional<RecordedPlacement> out;
  const auto use = [&](const Json& json, const std::string& place) -> Status {
    WS_ASSIGN(const JsonObject record, JsonObject::from(json, place));
    WS_ASSIGN(const std::string type, record_type(record));
    if (type != "eplb_initial_mapping") return {};
    if (out) return record.bad("record_type", "eplb_initial_mapping stands twice");
    WS_ASSIGN(out, read_mapping(record));
    return {};
  };
  WS_RETURN_IF_ERROR(for_each_line(text, where, use));
  if (!out) {
    return invalid_input("no record of the type eplb_initial_mapping", where,
                         "give the file of initial_mapping_path");
  }
  return *std::move(out);
}

}  // namespace wingspan
