#include <fmt/format.h>

#include <map>

#include "eplb_files/engine_formats.h"
#include "eplb_files/matrices.h"

namespace wingspan {
namespace {

// A list of objects under `key`, by their number under `id_key`.
Expected<std::map<int64_t, JsonObject>> numbered(const JsonObject& parent, const std::string& key,
                                                 const std::string& id_key,
                                                 const std::string& what) {
  if (!parent.has(key) || !parent.json().at(key).is_array()) {
    return parent.bad(key, "is not a list");
  }
  std::map<int64_t, JsonObject> out;
  size_t position = 0;
  for (const Json& item : parent.json().at(key)) {
    const std::string place = fmt::format("{}, {}[{}]", parent.where(), key, position++);
    WS_ASSIGN(const JsonObject entry, JsonObject::from(item, place));
    WS_ASSIGN(const int64_t id, entry.integer(id_key, 0, INT32_MAX));
    WS_ASSIGN(const JsonObject named,
              JsonObject::from(item, fmt::format("{}, {} {}", parent.where(), what, id)));
    if (!out.emplace(id, named).second) {
      return parent.bad(key, fmt::format("has {} {} twice (duplicate)", what, id));
    }
  }
  if (out.empty()) return parent.bad(key, fmt::format("has no {}", what));
  return out;
}

struct LayerMap {
  std::vector<int> slots;
  int devices = 0;
};

Expected<LayerMap> read_layer(const JsonObject& layer) {
  WS_ASSIGN(const auto devices, numbered(layer, "device_list", "device_id", "device"));
  LayerMap out;
  out.devices = static_cast<int>(devices.size());
  if (layer.has("device_count")) {
    WS_ASSIGN(const int64_t count, layer.integer("device_count", 1, kMostExperts));
    if (count != out.devices) {
      return layer.bad("device_count",
                       fmt::format("is {}, but {} devices are listed", count, out.devices));
    }
  }
  size_t per_device = 0;
  for (const auto& [id, device] : devices) {
    if (id >= out.devices) {
      return layer.bad("device_list",
                       fmt::format("has device {}, but only {} in number", id, out.devices));
    }
    if (!device.has("device_expert")) return device.bad("device_expert", "is missing");
    WS_ASSIGN(const auto ids,
              id_row(device.json().at("device_expert"), "device_expert", device.where()));
    if (id == 0) per_device = ids.size();
    if (ids.size() != per_device) {
      return device.bad("device_expert",
                        fmt::format("has length {}; device 0 has {} slots: every device must hold "
                                    "the same number",
                                    ids.size(), per_device));
    }
    out.slots.insert(out.slots.end(), ids.begin(), ids.end());
  }
  return out;
}

}  // namespace

Expected<RecordedLoad> read_ascend_load(const TorchFile& file) {
  const Pickle& pickle = file.pickle();
  if (pickle.value(pickle.root()).kind != PickleValue::Kind::kTensor) {
    return invalid_input(fmt::format("the file holds a {}, not a tensor [layers][experts]",
                                     Pickle::kind_name(pickle.value(pickle.root()).kind)),
                         file.where(), "give the workload file of the Ascend planner");
  }
  WS_ASSIGN(const auto tensor, file.numbers(pickle.root(), "workload"));
  WS_ASSIGN(auto tables, count_tables(tensor, "workload", file.where()));
  RecordedLoad load;
  load.format = "ascend";
  load.experts = static_cast<int>(tables[0].experts());
  load.layers = row_numbers(tables[0].layers());
  for (CountTable& table : tables) load.windows.push_back({1, 0, std::move(table)});
  return load;
}

Expected<RecordedPlacement> read_ascend_placement(const Json& json, const std::string& where) {
  WS_ASSIGN(const JsonObject file, JsonObject::from(json, where));
  WS_ASSIGN(const auto layers, numbered(file, "layer_list", "layer_id", "layer"));
  if (file.has("moe_layer_count")) {
    WS_ASSIGN(const int64_t count, file.integer("moe_layer_count", 0, kMostLayers));
    if (count != static_cast<int64_t>(layers.size())) {
      return file.bad("moe_layer_count",
                      fmt::format("is {}, but {} layers are listed", count, layers.size()));
    }
  }
  RecordedPlacement out;
  out.format = "ascend";
  for (const auto& [id, layer] : layers) {
    WS_ASSIGN(auto map, read_layer(layer));
    if (out.ranks != 0 && map.devices != out.ranks) {
      return layer.bad("device_list", fmt::format("has {} devices, the layers before it {}",
                                                  map.devices, out.ranks));
    }
    out.ranks = map.devices;
    out.layers.push_back(static_cast<int>(id));
    out.slot_to_expert.push_back(std::move(map.slots));
  }
  WS_RETURN_IF_ERROR(check_one_length(out.slot_to_expert, "layer_list", where));
  out.experts = experts_named(out.slot_to_expert);
  return out;
}

}  // namespace wingspan
