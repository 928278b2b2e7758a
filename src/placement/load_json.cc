// The text form of loads (docs/plan-format.md).
#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <unordered_set>

#include "placement/load.h"

namespace wingspan {
namespace {

constexpr const char* kLoadFormat = "wingspan-load";
constexpr int64_t kLoadVersion = 1;
constexpr size_t kMaxLoadBytes = size_t{1} << 30;

using Matrix = std::vector<std::vector<int64_t>>;

// One count, exact. `what` says why it is refused.
struct Count {
  int64_t value = 0;
  const char* what = nullptr;
};

Count count_of(const Json& v) {
  if (v.is_number_unsigned()) {
    const auto u = v.get<uint64_t>();
    if (u > static_cast<uint64_t>(INT64_MAX)) return {0, "overflows int64"};
    return {static_cast<int64_t>(u), nullptr};
  }
  if (v.is_number_integer()) return {0, "is negative"};  // what is not negative is unsigned
  if (!v.is_number_float()) return {0, "is not a number"};
  const auto d = v.get<double>();
  if (d < 0) return {0, "is negative"};
  if (d != std::floor(d)) return {0, "is not a whole number of tokens"};
  if (d >= 0x1p63) return {0, "overflows int64"};
  return {static_cast<int64_t>(d), nullptr};
}

// Where in the file an array stands, for its errors only.
struct Place {
  const std::string& file;
  std::string path;  // "load[3]"

  Unexpected bad(const std::string& what) const {
    return invalid_input(fmt::format("\"{}\" {}", path, what), file);
  }
  Place at(size_t index) const { return {file, fmt::format("{}[{}]", path, index)}; }
};

Expected<std::vector<int64_t>> parse_row(const Json& row, const Place& place, int experts) {
  if (!row.is_array()) return place.bad("is not a list of counts, one an expert");
  if (row.size() != static_cast<size_t>(experts)) {
    return place.bad(fmt::format("has length {}, not {} experts", row.size(), experts));
  }
  std::vector<int64_t> out;
  out.reserve(row.size());
  for (const Json& item : row) {
    const Count count = count_of(item);
    if (count.what != nullptr) {
      const std::string text = item.is_structured() ? item.type_name() : item.dump().substr(0, 40);
      return place.at(out.size()).bad(fmt::format("= {} {}", text, count.what));
    }
    out.push_back(count.value);
  }
  return out;
}

// [layers][experts]
Expected<Matrix> parse_matrix(const Json& json, const Place& place, size_t layers, int experts) {
  if (!json.is_array()) return place.bad("is not a list of layers");
  if (json.size() != layers) {
    return place.bad(fmt::format("has length {}, not {} layers", json.size(), layers));
  }
  Matrix out;
  out.reserve(layers);
  for (const Json& row : json) {
    WS_ASSIGN(auto counts, parse_row(row, place.at(out.size()), experts));
    out.push_back(std::move(counts));
  }
  return out;
}

Expected<int> parse_experts(const JsonObject& file) {
  WS_ASSIGN(const int64_t experts, file.integer("experts", 1, kMaxPlacementExperts));
  return static_cast<int>(experts);
}

Expected<std::vector<int>> parse_layers(const JsonObject& file, const std::string& key) {
  WS_ASSIGN(const auto given, file.integers(key, 0, INT32_MAX));
  std::vector<int> out;
  std::unordered_set<int64_t> seen;
  for (const int64_t layer : given) {
    if (!seen.insert(layer).second) return file.bad(key, fmt::format("has layer {} twice", layer));
    out.push_back(static_cast<int>(layer));
  }
  return out;
}

Expected<LoadWindow> parse_window(const Json& json, const Load& load, const std::string& where) {
  WS_ASSIGN(const JsonObject entry, JsonObject::from(json, where));
  LoadWindow window;
  WS_ASSIGN(window.first_step, entry.integer("first_step", 0, INT64_MAX));
  WS_ASSIGN(window.steps, entry.integer("steps", 0, INT64_MAX));
  WS_ASSIGN(window.tokens, entry.integer("tokens", 0, INT64_MAX));
  WS_ASSIGN(window.epoch, entry.integer_or("epoch", 0, INT64_MAX, 0));
  if (!entry.has("load")) return entry.bad("load", "is missing");
  WS_ASSIGN(window.load, parse_matrix(entry.json().at("load"), {where, "load"}, load.layers.size(),
                                      load.experts));
  return window;
}

Expected<Load> parse_full(const JsonObject& file) {
  WS_ASSIGN(const std::string format, file.string("format"));
  if (format != kLoadFormat) {
    return file.bad("format",
                    fmt::format("is \"{}\", not \"{}\"", format.substr(0, 40), kLoadFormat));
  }
  WS_ASSIGN(const int64_t version, file.integer("version", INT64_MIN, INT64_MAX));
  if (version != kLoadVersion) {
    return file.bad("version", fmt::format("is {}; this program reads {}", version, kLoadVersion));
  }
  Load load;
  WS_ASSIGN(load.model, file.string_or("model", ""));
  WS_ASSIGN(load.experts, parse_experts(file));
  WS_ASSIGN(load.layers, parse_layers(file, "layers"));
  if (!file.has("windows")) return file.bad("windows", "is missing");
  const Json& windows = file.json().at("windows");
  if (!windows.is_array()) return file.bad("windows", "is not an array");
  for (const Json& item : windows) {
    const std::string where = fmt::format("{}, windows[{}]", file.where(), load.windows.size());
    WS_ASSIGN(auto window, parse_window(item, load, where));
    load.windows.push_back(std::move(window));
  }
  return load;
}

// How deep the lists of `json` go at their first entries, counted up to 4.
int dimensions(const Json& json) {
  int depth = 0;
  for (const Json* at = &json; at->is_array() && depth < 4; at = &at->front()) {
    ++depth;
    if (at->empty()) break;
  }
  return depth;
}

Expected<Load> parse_short(const JsonObject& file) {
  Load load;
  WS_ASSIGN(load.model, file.string_or("model", ""));
  WS_ASSIGN(load.experts, parse_experts(file));
  if (!file.has("load")) return file.bad("load", "is missing");
  const Json& json = file.json().at("load");
  const int depth = dimensions(json);
  if (depth != 2 && depth != 3) {
    return file.bad("load", fmt::format("has {}{} dimensions, not [layers][experts] or "
                                        "[steps][layers][experts]",
                                        depth, depth == 4 ? " or more" : ""));
  }
  const size_t layers = depth == 2 ? json.size() : json.front().size();
  if (file.has("layer_ids")) {
    WS_ASSIGN(load.layers, parse_layers(file, "layer_ids"));
    if (load.layers.size() != layers) {
      return file.bad("layer_ids",
                      fmt::format("has length {}, not {} layers", load.layers.size(), layers));
    }
  } else {
    load.layers.resize(layers);
    std::iota(load.layers.begin(), load.layers.end(), 0);
  }
  const Place place{file.where(), "load"};
  const size_t steps = depth == 2 ? 1 : json.size();
  for (size_t step = 0; step < steps; ++step) {
    LoadWindow window;
    window.first_step = static_cast<int64_t>(step);
    window.steps = 1;
    WS_ASSIGN(window.load, depth == 2
                               ? parse_matrix(json, place, layers, load.experts)
                               : parse_matrix(json[step], place.at(step), layers, load.experts));
    load.windows.push_back(std::move(window));
  }
  return load;
}

}  // namespace

Expected<Load> parse_load(std::string_view text, const std::string& where) {
  WS_ASSIGN(const Json json, parse_json(text, where, {.max_bytes = kMaxLoadBytes}));
  WS_ASSIGN(const JsonObject file, JsonObject::from(json, where));
  WS_ASSIGN(auto load, file.has("format") ? parse_full(file) : parse_short(file));
  if (auto total = total_load(load); !total) {
    Error error = std::move(total).error();
    error.where = where + ", " + error.where;
    return Unexpected(std::move(error));
  }
  return load;
}

Expected<Load> read_load(const Files& files, const std::string& path) {
  WS_ASSIGN(const std::string text, files.read_text(path, kMaxLoadBytes));
  return parse_load(text, path);
}

std::string load_to_json(const Load& load) {
  const auto dumped = [](const OrderedJson& json) {
    return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  };
  OrderedJson head = {{"format", kLoadFormat}, {"version", kLoadVersion}};
  if (!load.model.empty()) head["model"] = load.model;
  head["experts"] = load.experts;
  head["layers"] = load.layers;
  std::string text = dumped(head);
  text.back() = ',';
  text += "\n\"windows\":[";
  for (size_t i = 0; i < load.windows.size(); ++i) {
    const LoadWindow& window = load.windows[i];
    text += i == 0 ? "\n" : ",\n";
    text += dumped({{"first_step", window.first_step},
                    {"steps", window.steps},
                    {"tokens", window.tokens},
                    {"epoch", window.epoch},
                    {"load", window.load}});
  }
  text += "]}\n";
  return text;
}

Status write_load(const Files& files, const std::string& path, const Load& load) {
  return files.write_text(path, load_to_json(load));
}

}  // namespace wingspan
