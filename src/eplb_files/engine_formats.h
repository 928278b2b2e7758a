// One reader a format; formats.h chooses among them. JSON comes in parsed, torch files opened.
//
// Sources: docs/eplb-with-your-engine.md lists, for each engine, what writes and what reads these.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "eplb_files/recorded.h"
#include "eplb_files/torch_file.h"

namespace wingspan {

inline constexpr uint64_t kMostFileBytes = uint64_t{1} << 32;  // that a reader takes

// Our own: wingspan-load files and the short forms.
Expected<RecordedLoad> read_json_load(const Json& json, const std::string& where);
// {"load_history":[{"logical_expert_load":[layers][experts]}, …]}
Expected<RecordedLoad> read_adrs_load(const Json& json, const std::string& where);

// SGLang: {"logical_count"} as JSON or tensor, {"records", "last_physical_to_logical_map"} of the
// per_pass and per_token recorders; {"physical_to_logical_map"} is a placement.
Expected<RecordedLoad> read_sglang_load(const Json& json, const std::string& where);
Expected<RecordedLoad> read_sglang_load(const TorchFile& file);
// The dumps of several ranks: passes with the same id are one window.
Expected<RecordedLoad> read_sglang_directory(const Files& files, const std::string& directory,
                                             const std::vector<std::string>& names);
Expected<RecordedPlacement> read_sglang_placement(const Json& json, const std::string& where);
Expected<RecordedPlacement> read_sglang_placement(const TorchFile& file);

// TensorRT-LLM: a directory with meta_info.json and rank<N>.safetensors; moe_load_balancer.yaml.
Expected<RecordedLoad> read_tensorrt_llm_load(const Files& files, const std::string& directory);
Expected<RecordedPlacement> read_tensorrt_llm_placement(const std::string& text,
                                                        const std::string& where);

// vLLM: one JSON object a line.
Expected<RecordedLoad> read_vllm_load(std::string_view text, const std::string& where);
Expected<RecordedPlacement> read_vllm_placement(std::string_view text, const std::string& where);

// Ascend: a bare tensor [layers][experts]; expert_map.json.
Expected<RecordedLoad> read_ascend_load(const TorchFile& file);
Expected<RecordedPlacement> read_ascend_placement(const Json& json, const std::string& where);

}  // namespace wingspan
