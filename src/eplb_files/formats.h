// The files of other engines, and which is which.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/files.h"
#include "eplb_files/recorded.h"
#include "placement/placement.h"

namespace wingspan {

enum class EplbFormat { kAuto, kSglang, kTensorrtLlm, kVllm, kAscend, kAdrs, kJson, kWingspan };

// "sglang", "tensorrt-llm", …; nullopt: no such format.
std::optional<EplbFormat> eplb_format_from_name(std::string_view name);
std::string_view eplb_format_name(EplbFormat format);

// A load file, or a directory (TensorRT-LLM's statistic, SGLang's dumps). kAuto decides by content.
// Memory is bounded by some 10 times the file's size; nothing in a file is executed. All errors are
// kInvalidInput and name the file and the place in it.
Expected<RecordedLoad> read_recorded_load(const Files& files, const std::string& path,
                                          EplbFormat format);
// A placement, in any format; decides by content.
Expected<RecordedPlacement> read_recorded_placement(const Files& files, const std::string& path);

// The placement as a file of another engine. Errors (kInvalidInput): ranks of different size, which
// only our own form can say.
//   sglang        JSON for --init-expert-location; rows for all layers from 0, those that are not
//   in
//                 the placement (dense ones) filled with slot mod experts
//   tensorrt-llm  moe_load_balancer.yaml, static (layer_updates_per_iter 0)
//   vllm          one JSON line, eplb_initial_mapping
//   ascend        expert_map.json
Expected<std::string> placement_for_engine(const Placement& placement, EplbFormat format);

}  // namespace wingspan
