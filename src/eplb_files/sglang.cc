#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "eplb_files/engine_formats.h"
#include "eplb_files/matrices.h"

namespace wingspan {
namespace {

constexpr const char* kKnown = "none of the keys logical_count, records, physical_to_logical_map";

RecordedLoad of_tables(std::vector<CountTable> tables) {
  RecordedLoad load;
  load.format = "sglang";
  load.experts = static_cast<int>(tables[0].experts());
  load.layers = row_numbers(tables[0].layers());
  for (CountTable& table : tables) load.windows.push_back({1, 0, std::move(table)});
  return load;
}

RecordedPlacement of_rows(std::vector<std::vector<int>> rows) {
  RecordedPlacement out;
  out.format = "sglang";
  out.experts = experts_named(rows);
  out.layers = row_numbers(rows.size());
  out.slot_to_expert = std::move(rows);
  return out;
}

// One pass of one rank, in counts by slot.
struct Pass {
  int64_t id = 0;
  CountTable counts;
};

struct Records {
  std::vector<Pass> passes;
  std::vector<std::vector<int>> map;  // [layers][slots]
};

// topk_ids_of_layer [layers][tokens][k] are slots too; −1 fills unused places.
Expected<CountTable> count_tokens(const TorchTensor& ids, size_t slots, const std::string& where) {
  if (ids.shape.size() != 3 || ids.is_real || ids.shape[0] == 0) {
    return invalid_input("\"topk_ids_of_layer\" has not the shape [layers][tokens][k]", where);
  }
  const auto layers = static_cast<size_t>(ids.shape[0]);
  const size_t width = ids.whole.size() / layers;
  CountTable out(layers, slots);
  for (size_t l = 0; l < layers; ++l) {
    std::vector<int64_t> counts(slots);
    for (size_t i = l * width; i < (l + 1) * width; ++i) {
      if (ids.whole[i] == -1) continue;
      if (ids.whole[i] < 0 || static_cast<uint64_t>(ids.whole[i]) >= slots) {
        return invalid_input(
            fmt::format("\"topk_ids_of_layer\" names slot {}: out of range", ids.whole[i]), where);
      }
      ++counts[static_cast<size_t>(ids.whole[i])];
    }
    for (const int64_t count : counts) WS_RETURN_IF_ERROR(out.append(count));
  }
  return out;
}

Expected<Pass> read_pass(const TorchFile& file, PickleId record, size_t number, size_t slots) {
  const Pickle& pickle = file.pickle();
  const std::string where = fmt::format("{}, records[{}]", file.where(), number);
  Pass pass;
  const PickleId* id = pickle.find(record, "forward_pass_id");
  pass.id = id != nullptr && pickle.value(*id).kind == PickleValue::Kind::kInt
                ? pickle.value(*id).integer
                : static_cast<int64_t>(number);
  if (const PickleId* counts = pickle.find(record, "global_physical_count")) {
    WS_ASSIGN(const auto tensor, file.numbers(*counts, "global_physical_count"));
    WS_ASSIGN(auto tables, count_tables(tensor, "global_physical_count", where));
    if (tables.size() != 1) {
      return invalid_input("\"global_physical_count\" has not the shape [layers][slots]", where);
    }
    pass.counts = std::move(tables[0]);
  } else if (const PickleId* ids = pickle.find(record, "topk_ids_of_layer")) {
    WS_ASSIGN(const auto tensor, file.numbers(*ids, "topk_ids_of_layer"));
    WS_ASSIGN(pass.counts, count_tokens(tensor, slots, where));
  } else {
    return invalid_input("neither global_physical_count nor topk_ids_of_layer is there", where,
                         "record with the mode stat, stat_approx, per_pass or per_token");
  }
  return pass;
}

Expected<Records> read_records(const TorchFile& file, PickleId list) {
  const Pickle& pickle = file.pickle();
  const auto bad = [&](const std::string& what) { return invalid_input(what, file.where()); };
  if (pickle.value(list).kind != PickleValue::Kind::kList ||
      pickle.items(pickle.value(list)).empty()) {
    return bad("\"records\" is not a list of passes");
  }
  const PickleId* map = pickle.find(pickle.root(), "last_physical_to_logical_map");
  if (map == nullptr) return bad("\"last_physical_to_logical_map\" is missing");
  Records out;
  WS_ASSIGN(const auto tensor, file.numbers(*map, "last_physical_to_logical_map"));
  WS_ASSIGN(out.map, id_rows(tensor, "last_physical_to_logical_map", file.where()));
  const size_t slots = out.map[0].size();
  if (static_cast<size_t>(experts_named(out.map)) > slots) {
    return bad(
        "\"last_physical_to_logical_map\" names more experts than it has slots: out of "
        "range");
  }
  for (const PickleId record : pickle.items(pickle.value(list))) {
    WS_ASSIGN(auto pass, read_pass(file, record, out.passes.size(), slots));
    if (pass.counts.layers() != out.map.size() || pass.counts.experts() != slots) {
      return bad(fmt::format("records[{}] has the shape [{}][{}], the map [{}][{}]",
                             out.passes.size(), pass.counts.layers(), pass.counts.experts(),
                             out.map.size(), slots));
    }
    out.passes.push_back(std::move(pass));
  }
  return out;
}

// Adds the counts by expert to the windows of their passes.
Status add_records(const Records& records, const std::string& where,
                   std::map<int64_t, CountTable>& windows) {
  const int experts = experts_named(records.map);
  for (const Pass& pass : records.passes) {
    WS_ASSIGN(auto table, to_experts(pass.counts, records.map, experts, where));
    const auto at = windows.find(pass.id);
    if (!windows.empty()) {
      const CountTable& other = windows.begin()->second;
      if (other.layers() != table.layers() || other.experts() != table.experts()) {
        return invalid_input(
            fmt::format("has {} layers of {} experts, another pass {} of {}", table.layers(),
                        table.experts(), other.layers(), other.experts()),
            where, "give dumps of one run only");
      }
    }
    if (at == windows.end()) {
      windows.emplace(pass.id, std::move(table));
    } else {
      WS_RETURN_IF_ERROR(at->second.add(table));
    }
  }
  return {};
}

RecordedLoad of_windows(std::map<int64_t, CountTable>&& windows) {
  std::vector<CountTable> tables;
  for (auto& [id, table] : windows) tables.push_back(std::move(table));
  return of_tables(std::move(tables));
}

}  // namespace

Expected<RecordedLoad> read_sglang_load(const Json& json, const std::string& where) {
  WS_ASSIGN(const JsonObject file, JsonObject::from(json, where));
  if (!file.has("logical_count")) return file.bad("logical_count", "is missing");
  WS_ASSIGN(auto tables, count_tables(json.at("logical_count"), "logical_count", where));
  return of_tables(std::move(tables));
}

Expected<RecordedLoad> read_sglang_load(const TorchFile& file) {
  const Pickle& pickle = file.pickle();
  if (const PickleId* count = pickle.find(pickle.root(), "logical_count")) {
    WS_ASSIGN(const auto tensor, file.numbers(*count, "logical_count"));
    WS_ASSIGN(auto tables, count_tables(tensor, "logical_count", file.where()));
    return of_tables(std::move(tables));
  }
  if (const PickleId* list = pickle.find(pickle.root(), "records")) {
    WS_ASSIGN(const Records records, read_records(file, *list));
    std::map<int64_t, CountTable> windows;
    WS_RETURN_IF_ERROR(add_records(records, file.where(), windows));
    return of_windows(std::move(windows));
  }
  return invalid_input(fmt::format("the file holds a {} with {}: no load of SGLang",
                                   Pickle::kind_name(pickle.value(pickle.root()).kind), kKnown),
                       file.where(), "give a dump of the expert distribution recorder");
}

Expected<RecordedLoad> read_sglang_directory(const Files& files, const std::string& directory,
                                             const std::vector<std::string>& names) {
  std::map<int64_t, CountTable> windows;
  std::optional<RecordedLoad> all;
  for (const std::string& name : names) {
    const std::string path = directory + "/" + name;
    WS_ASSIGN(auto bytes, files.read_text(path, kMostFileBytes));
    WS_ASSIGN(const auto file, TorchFile::open(std::move(bytes), path));
    if (const PickleId* list = file.pickle().find(file.pickle().root(), "records")) {
      WS_ASSIGN(const Records records, read_records(file, *list));
      WS_RETURN_IF_ERROR(add_records(records, path, windows));
      continue;
    }
    WS_ASSIGN(auto load, read_sglang_load(file));
    if (!all) {
      all = std::move(load);
      continue;
    }
    if (load.experts != all->experts || load.layers != all->layers) {
      return invalid_input("has another shape than the dumps before it", path,
                           "give dumps of one run only");
    }
    for (auto& window : load.windows) all->windows.push_back(std::move(window));
  }
  if (all && !windows.empty()) {
    return invalid_input("the directory mixes dumps of passes and of statistics", directory,
                         "give one kind only");
  }
  return all ? std::move(*all) : of_windows(std::move(windows));
}

Expected<RecordedPlacement> read_sglang_placement(const Json& json, const std::string& where) {
  WS_ASSIGN(const JsonObject file, JsonObject::from(json, where));
  if (!file.has("physical_to_logical_map")) {
    return file.bad("physical_to_logical_map", "is missing");
  }
  WS_ASSIGN(auto rows,
            id_rows(json.at("physical_to_logical_map"), "physical_to_logical_map", where));
  return of_rows(std::move(rows));
}

Expected<RecordedPlacement> read_sglang_placement(const TorchFile& file) {
  const Pickle& pickle = file.pickle();
  const PickleId* map = pickle.find(pickle.root(), "physical_to_logical_map");
  if (map == nullptr) {
    return invalid_input("the key physical_to_logical_map is missing", file.where(),
                         "give a file for --init-expert-location");
  }
  WS_ASSIGN(const auto tensor, file.numbers(*map, "physical_to_logical_map"));
  WS_ASSIGN(auto rows, id_rows(tensor, "physical_to_logical_map", file.where()));
  return of_rows(std::move(rows));
}

}  // namespace wingspan
