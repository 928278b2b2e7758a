#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "eplb_files/formats.h"

namespace wingspan {
namespace {

std::string list(const std::vector<int>& ids) { return fmt::format("[{}]", fmt::join(ids, ", ")); }

std::string sglang(const Placement& placement) {
  int rows = 0;
  for (const LayerPlacement& layer : placement.layers) rows = std::max(rows, layer.layer + 1);
  std::vector<int> dense(static_cast<size_t>(placement.topology.slots()));
  for (size_t s = 0; s < dense.size(); ++s) {
    dense[s] = static_cast<int>(s) % placement.topology.experts;
  }
  std::string out = "{\"physical_to_logical_map\": [";
  for (int row = 0; row < rows; ++row) {
    const LayerPlacement* layer = placement.find_layer(row);
    out += row == 0 ? "\n" : ",\n";
    out += list(layer == nullptr ? dense : layer->slot_to_expert);
  }
  return out + "]}\n";
}

std::string tensorrt_llm(const Placement& placement) {
  std::string out = "initial_global_assignments:\n";
  for (const LayerPlacement& layer : placement.layers) {
    out += fmt::format("  {}: {}\n", layer.layer, list(layer.slot_to_expert));
  }
  out += "layer_updates_per_iter: 0\n";
  return out + fmt::format("num_slots: {}\n", placement.topology.slots());
}

std::string vllm(const Placement& placement) {
  const Topology& t = placement.topology;
  std::string out = fmt::format(
      "{{\"record_type\": \"eplb_initial_mapping\", \"version\": 1, \"num_redundant_experts\": {}, "
      "\"num_slots\": {}, \"initial_global_assignments\": {{",
      t.slots() - t.experts, t.slots());
  for (size_t i = 0; i < placement.layers.size(); ++i) {
    out += fmt::format("{}\"{}\": {}", i == 0 ? "" : ", ", placement.layers[i].layer,
                       list(placement.layers[i].slot_to_expert));
  }
  return out + "}}\n";
}

std::string ascend(const Placement& placement) {
  const Topology& t = placement.topology;
  std::string out =
      fmt::format("{{\n\"moe_layer_count\": {},\n\"layer_list\": [", placement.layers.size());
  for (size_t l = 0; l < placement.layers.size(); ++l) {
    const LayerPlacement& layer = placement.layers[l];
    out += fmt::format("{}\n{{\"layer_id\": {}, \"device_count\": {}, \"device_list\": [",
                       l == 0 ? "" : ",", layer.layer, t.ranks());
    for (int rank = 0; rank < t.ranks(); ++rank) {
      const auto first = layer.slot_to_expert.begin() + t.first_slot(rank);
      const std::vector<int> ids(first, first + t.rank_slots[static_cast<size_t>(rank)]);
      out += fmt::format("{}\n{{\"device_id\": {}, \"device_expert\": {}}}", rank == 0 ? "" : ",",
                         rank, list(ids));
    }
    out += "]}";
  }
  return out + "]\n}\n";
}

}  // namespace

Expected<std::string> placement_for_engine(const Placement& placement, EplbFormat format) {
  const auto& sizes = placement.topology.rank_slots;
  if (std::adjacent_find(sizes.begin(), sizes.end(), std::not_equal_to<>()) != sizes.end()) {
    return invalid_input(
        fmt::format("ranks of different size can't be written as {}", eplb_format_name(format)),
        "--output-format", "use --output-format wingspan");
  }
  switch (format) {
    case EplbFormat::kSglang:
      return sglang(placement);
    case EplbFormat::kTensorrtLlm:
      return tensorrt_llm(placement);
    case EplbFormat::kVllm:
      return vllm(placement);
    case EplbFormat::kAscend:
      return ascend(placement);
    default:
      return invalid_input(
          fmt::format("placements are not written as {}", eplb_format_name(format)),
          "--output-format", "use wingspan, sglang, tensorrt-llm, vllm or ascend");
  }
}

}  // namespace wingspan
