// Load files of our own form (docs/plan-format.md), where counts may be fractions, and ADRS's.
#include <fmt/format.h>

#include <unordered_set>

#include "eplb_files/engine_formats.h"
#include "eplb_files/matrices.h"

namespace wingspan {
namespace {

Expected<int> experts_of(const JsonObject& file) {
  WS_ASSIGN(const int64_t experts, file.integer("experts", 1, kMostExperts));
  return static_cast<int>(experts);
}

Expected<std::vector<int>> layer_numbers(const JsonObject& file, const std::string& key) {
  WS_ASSIGN(const auto given, file.integers(key, 0, INT32_MAX));
  std::unordered_set<int64_t> seen;
  for (const int64_t layer : given) {
    if (!seen.insert(layer).second) return file.bad(key, fmt::format("has layer {} twice", layer));
  }
  return std::vector<int>(given.begin(), given.end());
}

Status check_shape(const CountTable& table, const RecordedLoad& load, const std::string& place,
                   const std::string& where) {
  if (table.experts() != static_cast<size_t>(load.experts)) {
    return invalid_input(fmt::format("\"{}\" has rows of length {}, not {} experts", place,
                                     table.experts(), load.experts),
                         where);
  }
  if (table.layers() != load.layers.size()) {
    return invalid_input(
        fmt::format("\"{}\" has {} rows, not {} layers", place, table.layers(), load.layers.size()),
        where);
  }
  return {};
}

Expected<RecordedLoad> read_windows(const JsonObject& file) {
  WS_ASSIGN(const std::string format, file.string("format"));
  if (format != "wingspan-load") {
    return file.bad("format",
                    fmt::format("is \"{}\", not \"wingspan-load\"", format.substr(0, 40)));
  }
  WS_ASSIGN(const int64_t version, file.integer("version", INT64_MIN, INT64_MAX));
  if (version != 1) return file.bad("version", fmt::format("is {}; this reads 1", version));
  RecordedLoad load;
  WS_ASSIGN(load.experts, experts_of(file));
  WS_ASSIGN(load.layers, layer_numbers(file, "layers"));
  if (!file.has("windows") || !file.json().at("windows").is_array() ||
      file.json().at("windows").empty()) {
    return file.bad("windows", "is not a list of windows");
  }
  for (const Json& item : file.json().at("windows")) {
    const std::string where = fmt::format("{}, windows[{}]", file.where(), load.windows.size());
    WS_ASSIGN(const JsonObject entry, JsonObject::from(item, where));
    RecordedWindow window;
    WS_RETURN_IF_ERROR(entry.integer_or("first_step", 0, INT64_MAX, 0));
    WS_ASSIGN(window.steps, entry.integer_or("steps", 0, INT64_MAX, 1));
    WS_ASSIGN(window.tokens, entry.integer_or("tokens", 0, INT64_MAX, 0));
    if (!entry.has("load")) return entry.bad("load", "is missing");
    WS_ASSIGN(window.counts, count_table(item.at("load"), "load", where));
    WS_RETURN_IF_ERROR(check_shape(window.counts, load, "load", where));
    load.windows.push_back(std::move(window));
  }
  return load;
}

Expected<RecordedLoad> read_short(const JsonObject& file) {
  RecordedLoad load;
  WS_ASSIGN(load.experts, experts_of(file));
  if (!file.has("load")) return file.bad("load", "is missing");
  WS_ASSIGN(auto tables, count_tables(file.json().at("load"), "load", file.where()));
  load.layers = row_numbers(tables[0].layers());
  if (file.has("layer_ids")) {
    WS_ASSIGN(load.layers, layer_numbers(file, "layer_ids"));
    if (load.layers.size() != tables[0].layers()) {
      return file.bad("layer_ids", fmt::format("has length {}, not {} layers", load.layers.size(),
                                               tables[0].layers()));
    }
  }
  WS_RETURN_IF_ERROR(check_shape(tables[0], load, "load", file.where()));
  for (CountTable& table : tables) load.windows.push_back({1, 0, std::move(table)});
  return load;
}

}  // namespace

Expected<RecordedLoad> read_json_load(const Json& json, const std::string& where) {
  WS_ASSIGN(const JsonObject file, JsonObject::from(json, where));
  WS_ASSIGN(auto load, file.has("format") ? read_windows(file) : read_short(file));
  WS_ASSIGN(load.model, file.string_or("model", ""));
  load.format = "json";
  return load;
}

Expected<RecordedLoad> read_adrs_load(const Json& json, const std::string& where) {
  WS_ASSIGN(const JsonObject file, JsonObject::from(json, where));
  if (!file.has("load_history") || !file.json().at("load_history").is_array() ||
      file.json().at("load_history").empty()) {
    return file.bad("load_history", "is not a list of steps with logical_expert_load");
  }
  RecordedLoad load;
  load.format = "adrs";
  for (const Json& step : file.json().at("load_history")) {
    const std::string name = fmt::format("load_history[{}]", load.windows.size());
    WS_ASSIGN(const JsonObject entry, JsonObject::from(step, where + ", " + name));
    if (!entry.has("logical_expert_load")) return entry.bad("logical_expert_load", "is missing");
    WS_ASSIGN(auto table,
              count_table(step.at("logical_expert_load"), "logical_expert_load", entry.where()));
    if (load.windows.empty()) {
      load.experts = static_cast<int>(table.experts());
      load.layers = row_numbers(table.layers());
    }
    WS_RETURN_IF_ERROR(check_shape(table, load, "logical_expert_load", entry.where()));
    load.windows.push_back({1, 0, std::move(table)});
  }
  return load;
}

}  // namespace wingspan
