// The text form of placements (docs/plan-format.md).
#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "placement/placement.h"

namespace wingspan {
namespace {

constexpr const char* kPlacementFormat = "wingspan-placement";
constexpr int64_t kPlacementVersion = 1;
constexpr size_t kMaxPlacementBytes = size_t{1} << 28;
constexpr double kFinite = 1.7976931348623157e308;

Status check_format(const JsonObject& file) {
  WS_ASSIGN(const std::string format, file.string("format"));
  if (format != kPlacementFormat) {
    return file.bad("format",
                    fmt::format("is \"{}\", not \"{}\"", format.substr(0, 40), kPlacementFormat));
  }
  WS_ASSIGN(const int64_t version, file.integer("version", INT64_MIN, INT64_MAX));
  if (version != kPlacementVersion) {
    return file.bad("version",
                    fmt::format("is {}; this program reads {}", version, kPlacementVersion));
  }
  return {};
}

// An array of objects under `key`, each named by its index.
Expected<std::vector<JsonObject>> objects(const JsonObject& parent, const std::string& key) {
  if (!parent.has(key)) return parent.bad(key, "is missing");
  const Json& array = parent.json().at(key);
  if (!array.is_array()) return parent.bad(key, "is not an array");
  std::vector<JsonObject> out;
  out.reserve(array.size());
  for (const Json& item : array) {
    WS_ASSIGN(auto object,
              JsonObject::from(item, fmt::format("{}, {}[{}]", parent.where(), key, out.size())));
    out.push_back(std::move(object));
  }
  return out;
}

Expected<std::vector<int>> rank_slots(const JsonObject& file, int ranks, int slots) {
  if (!file.has("rank_slots")) {
    if (slots % ranks != 0) {
      return invalid_input(fmt::format("{} slots are not divisible by {} ranks", slots, ranks),
                           file.where(), "give \"rank_slots\" where the ranks differ");
    }
    return even_rank_slots(slots, ranks);
  }
  WS_ASSIGN(const auto given, file.integers("rank_slots", 0, kMaxPlacementSlots));
  if (given.size() != static_cast<size_t>(ranks)) {
    return file.bad("rank_slots", fmt::format("has length {}, not {} ranks", given.size(), ranks));
  }
  int64_t sum = 0;
  for (const int64_t n : given) sum += n;
  if (sum != slots) {
    return file.bad("rank_slots", fmt::format("has the sum {}, not {} slots", sum, slots));
  }
  return std::vector<int>(given.begin(), given.end());
}

Expected<Topology> topology(const JsonObject& file) {
  Topology t;
  WS_ASSIGN(const int64_t experts, file.integer("experts", 1, kMaxPlacementExperts));
  WS_ASSIGN(const int64_t ranks, file.integer("ranks", 1, kMaxPlacementRanks));
  WS_ASSIGN(const int64_t slots, file.integer("slots", experts, kMaxPlacementSlots));
  WS_ASSIGN(const int64_t nodes, file.integer_or("nodes", 1, ranks, 1));
  WS_ASSIGN(const int64_t groups, file.integer_or("groups", 1, experts, 1));
  t.experts = static_cast<int>(experts);
  t.nodes = static_cast<int>(nodes);
  t.groups = static_cast<int>(groups);
  WS_ASSIGN(t.rank_slots, rank_slots(file, static_cast<int>(ranks), static_cast<int>(slots)));
  return t;
}

Status check_numbers(const JsonObject& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    WS_RETURN_IF_ERROR(object.number_or(key, -kFinite, kFinite, 0));
  }
  return {};
}

Expected<LayerPlacement> layer(const JsonObject& entry, const Topology& t) {
  LayerPlacement out;
  WS_ASSIGN(const int64_t number, entry.integer("layer", 0, INT32_MAX));
  out.layer = static_cast<int>(number);
  const std::string where = fmt::format("{}, layer {}", entry.where(), number);
  WS_ASSIGN(const JsonObject named, JsonObject::from(entry.json(), where));
  WS_RETURN_IF_ERROR(check_numbers(
      named, {"max_rank_load", "mean_rank_load", "balancedness", "lower_bound", "gap"}));
  // The length first: a wrong one makes every later complaint beside the point.
  const size_t slots = static_cast<size_t>(t.slots());
  const auto found = named.json().find("slot_to_expert");
  if (found != named.json().end() && found->is_array() && found->size() != slots) {
    return named.bad("slot_to_expert",
                     fmt::format("has length {}, not {} slots", found->size(), slots));
  }
  WS_ASSIGN(const auto ids, named.integers("slot_to_expert", INT32_MIN, INT32_MAX));
  out.slot_to_expert.assign(ids.begin(), ids.end());
  return out;
}

Status check_totals(const JsonObject& file) {
  if (!file.has("totals")) return {};
  WS_ASSIGN(const JsonObject totals, file.object("totals"));
  WS_RETURN_IF_ERROR(totals.integer_or("duplicate_slots", 0, INT64_MAX, 0));
  return check_numbers(totals, {"max_rank_load", "lower_bound", "balancedness", "gap"});
}

Status check_migration(const JsonObject& file, const Topology& t) {
  if (!file.has("migration")) return {};
  WS_ASSIGN(const JsonObject migration, file.object("migration"));
  for (const char* key : {"from_epoch", "moved_slots", "bytes", "expert_bytes"}) {
    WS_RETURN_IF_ERROR(migration.integer_or(key, 0, INT64_MAX, 0));
  }
  if (!migration.has("moves")) return {};
  WS_ASSIGN(const auto moves, objects(migration, "moves"));
  for (const JsonObject& move : moves) {
    WS_RETURN_IF_ERROR(move.integer("layer", 0, INT32_MAX));
    WS_RETURN_IF_ERROR(move.integer("slot", 0, t.slots() - 1));
    WS_RETURN_IF_ERROR(move.integer("expert", 0, t.experts - 1));
    WS_RETURN_IF_ERROR(move.integer_or("source_rank", 0, t.ranks() - 1, 0));
    WS_RETURN_IF_ERROR(move.integer_or("batch", INT64_MIN, INT64_MAX, 0));
  }
  return {};
}

Unexpected in_file(Error error, const std::string& where) {
  error.where = error.where.empty() ? where : where + ", " + error.where;
  return Unexpected(std::move(error));
}

}  // namespace

Expected<Placement> parse_placement(std::string_view text, const std::string& where) {
  WS_ASSIGN(const Json json, parse_json(text, where, {.max_bytes = kMaxPlacementBytes}));
  WS_ASSIGN(const JsonObject file, JsonObject::from(json, where));
  WS_RETURN_IF_ERROR(check_format(file));
  Placement out;
  WS_ASSIGN(out.epoch, file.integer("epoch", 0, INT64_MAX));
  WS_ASSIGN(out.model, file.string_or("model", ""));
  WS_ASSIGN(out.topology, topology(file));
  WS_ASSIGN(const auto layers, objects(file, "layers"));
  for (const JsonObject& entry : layers) {
    WS_ASSIGN(auto read, layer(entry, out.topology));
    out.layers.push_back(std::move(read));
  }
  WS_RETURN_IF_ERROR(check_totals(file));
  WS_RETURN_IF_ERROR(check_migration(file, out.topology));
  WS_RETURN_IF_ERROR(file.string_or("reason", ""));
  if (Status valid = out.validate(); !valid) return in_file(std::move(valid).error(), where);
  return out;
}

Expected<Placement> read_placement(const Files& files, const std::string& path) {
  WS_ASSIGN(const std::string text, files.read_text(path, kMaxPlacementBytes));
  return parse_placement(text, path);
}

namespace {

std::string dumped(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

int64_t duplicate_slots(const Placement& placement) {
  int64_t duplicates = 0;
  std::vector<int> held;
  for (const LayerPlacement& layer : placement.layers) {
    auto first = layer.slot_to_expert.begin();
    for (const int slots : placement.topology.rank_slots) {
      held.assign(first, first + slots);
      std::sort(held.begin(), held.end());
      duplicates += held.end() - std::unique(held.begin(), held.end());
      first += slots;
    }
  }
  return duplicates;
}

OrderedJson layer_json(const LayerPlacement& layer, const LayerReport* report) {
  OrderedJson out = {{"layer", layer.layer}, {"slot_to_expert", layer.slot_to_expert}};
  if (report == nullptr) return out;
  out["max_rank_load"] = report->max_rank_load;
  out["mean_rank_load"] = report->mean_rank_load;
  out["balancedness"] = report->balancedness;
  out["lower_bound"] = report->lower_bound;
  out["gap"] = report->gap;
  return out;
}

OrderedJson totals_json(const Placement& placement, const std::vector<LayerReport>& reports) {
  double max = 0, bound = 0, balancedness = 0;
  for (const LayerReport& report : reports) {
    max += report.max_rank_load;
    bound += report.lower_bound;
    balancedness += report.balancedness;
  }
  return {{"max_rank_load", max},
          {"balancedness", balancedness / static_cast<double>(reports.size())},
          {"lower_bound", bound},
          {"gap", bound > 0 ? max / bound - 1 : 0.0},
          {"duplicate_slots", duplicate_slots(placement)}};
}

}  // namespace

std::string placement_to_json(const Placement& placement, const std::string& reason,
                              const std::vector<LayerReport>& reports,
                              const std::string& migration) {
  WS_CHECK(!reason.empty());
  WS_CHECK(reports.empty() || reports.size() == placement.layers.size(), "{} reports, {} layers",
           reports.size(), placement.layers.size());
  const Topology& t = placement.topology;
  OrderedJson head = {
      {"format", kPlacementFormat}, {"version", kPlacementVersion}, {"epoch", placement.epoch}};
  if (!placement.model.empty()) head["model"] = placement.model;
  head["experts"] = t.experts;
  head["ranks"] = t.ranks();
  head["slots"] = t.slots();
  const auto& per_rank = t.rank_slots;
  if (std::adjacent_find(per_rank.begin(), per_rank.end(), std::not_equal_to<>()) !=
      per_rank.end()) {
    head["rank_slots"] = per_rank;
  }
  head["nodes"] = t.grouped() ? t.nodes : 1;
  head["groups"] = t.grouped() ? t.groups : 1;

  std::string text = dumped(head);
  text.back() = ',';
  text += "\n\"layers\":[";
  for (size_t i = 0; i < placement.layers.size(); ++i) {
    text += i == 0 ? "\n" : ",\n";
    text += dumped(layer_json(placement.layers[i], reports.empty() ? nullptr : &reports[i]));
  }
  text += "],\n";
  if (!reports.empty()) text += "\"totals\":" + dumped(totals_json(placement, reports)) + ",\n";
  text += "\"migration\":" + (migration.empty() ? "null" : migration);
  text += ",\n\"reason\":" + dumped(reason) + "}\n";
  return text;
}

Status write_placement(const Files& files, const std::string& path, const Placement& placement,
                       const std::string& reason, const std::vector<LayerReport>& reports) {
  return files.write_text(path, placement_to_json(placement, reason, reports));
}

}  // namespace wingspan
