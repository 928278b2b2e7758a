#include "eplb_files/formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "eplb_files/engine_formats.h"
#include "eplb_files/matrices.h"

namespace wingspan {
namespace {

constexpr std::array<std::pair<EplbFormat, std::string_view>, 8> kNames = {{
    {EplbFormat::kAuto, "auto"},
    {EplbFormat::kSglang, "sglang"},
    {EplbFormat::kTensorrtLlm, "tensorrt-llm"},
    {EplbFormat::kVllm, "vllm"},
    {EplbFormat::kAscend, "ascend"},
    {EplbFormat::kAdrs, "adrs"},
    {EplbFormat::kJson, "json"},
    {EplbFormat::kWingspan, "wingspan"},
}};

// What a file looks like from its first bytes.
enum class Look { kZip, kJson, kText, kUnknown };

Look look_of(std::string_view bytes) {
  if (bytes.starts_with("PK")) return Look::kZip;
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return Look::kJson;  // its reader says that it is empty
  if (bytes[first] == '{' || bytes[first] == '[') return Look::kJson;
  const auto odd = [](char c) {
    return static_cast<uint8_t>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t';
  };
  const std::string_view head = bytes.substr(0, 4096);
  return std::any_of(head.begin(), head.end(), odd) ? Look::kUnknown : Look::kText;
}

// Lines of JSON objects, where a single document would end after the first.
bool is_json_lines(std::string_view text) {
  const size_t key = text.substr(0, 65536).find("\"record_type\"");
  return key != std::string_view::npos;
}

// The JSON format whose keys the object has.
EplbFormat json_format(const Json& json) {
  if (!json.is_object()) return EplbFormat::kJson;
  const auto has = [&](const char* key) { return json.contains(key); };
  if (has("format")) {
    const Json& format = json.at("format");
    return format.is_string() && format.get<std::string>() == "wingspan-placement"
               ? EplbFormat::kWingspan
               : EplbFormat::kJson;
  }
  if (has("load_history")) return EplbFormat::kAdrs;
  if (has("logical_count") || has("physical_to_logical_map")) return EplbFormat::kSglang;
  if (has("layer_list") || has("moe_layer_count")) return EplbFormat::kAscend;
  return EplbFormat::kJson;
}

Unexpected unknown(const std::string& path, const char* what) {
  return invalid_input(fmt::format("the file has no known format: {}", what), path,
                       "give --format, or a file of sglang, tensorrt-llm, vllm, ascend, adrs or "
                       "json");
}

// A kIo error (no such file) of reading an input is the user's to mend, too.
Unexpected as_input(Error error) {
  error.kind = ErrorKind::kInvalidInput;
  if (error.fix.empty()) error.fix = "check the path";
  return Unexpected(std::move(error));
}

Expected<std::string> read_file(const Files& files, const std::string& path) {
  auto text = files.read_text(path, kMostFileBytes);
  if (!text) return as_input(std::move(text).error());
  return text;
}

Expected<RecordedLoad> read_directory(const Files& files, const std::string& path,
                                      EplbFormat format) {
  WS_ASSIGN(const auto names, files.list(path));
  std::vector<std::string> dumps;
  bool statistic = false;
  for (const std::string& name : names) {
    if (name.ends_with(".pt")) dumps.push_back(name);
    statistic = statistic || name == "meta_info.json" || name.ends_with(".safetensors");
  }
  if (format == EplbFormat::kTensorrtLlm || (format == EplbFormat::kAuto && statistic)) {
    return read_tensorrt_llm_load(files, path);
  }
  if (format != EplbFormat::kAuto && format != EplbFormat::kSglang) {
    return invalid_input(
        fmt::format("is a directory, but {} loads are files", eplb_format_name(format)), path,
        "give the file");
  }
  if (dumps.empty()) {
    return unknown(path, "the directory has neither *.pt (SGLang) nor rank*.safetensors");
  }
  return read_sglang_directory(files, path, dumps);
}

Expected<RecordedLoad> read_torch_load(std::string bytes, const std::string& path,
                                       EplbFormat format) {
  WS_ASSIGN(const auto file, TorchFile::open(std::move(bytes), path));
  const Pickle& pickle = file.pickle();
  const bool bare = pickle.value(pickle.root()).kind == PickleValue::Kind::kTensor;
  if (format == EplbFormat::kAscend || (format == EplbFormat::kAuto && bare)) {
    return read_ascend_load(file);
  }
  return read_sglang_load(file);
}

Expected<RecordedLoad> read_json_as(const Json& json, const std::string& path, EplbFormat format) {
  if (format == EplbFormat::kAuto) format = json_format(json);
  switch (format) {
    case EplbFormat::kAdrs:
      return read_adrs_load(json, path);
    case EplbFormat::kSglang:
      return read_sglang_load(json, path);
    case EplbFormat::kJson:
      return read_json_load(json, path);
    default:
      return invalid_input(fmt::format("is no load file: it looks like a placement or a file of "
                                       "format {}",
                                       eplb_format_name(format)),
                           path, "give a file with recorded loads");
  }
}

Expected<RecordedLoad> read_file_as(const Files& files, const std::string& path,
                                    EplbFormat format) {
  WS_ASSIGN(std::string bytes, read_file(files, path));
  const Look look = look_of(bytes);
  if (format == EplbFormat::kAuto) {
    if (look == Look::kUnknown || look == Look::kText) {
      return unknown(path, bytes.starts_with('\x80') ? "perhaps a legacy torch.save file (not a "
                                                       "zip archive)"
                                                     : "neither a zip archive nor JSON");
    }
    if (look == Look::kJson && is_json_lines(bytes)) format = EplbFormat::kVllm;
  }
  if (format == EplbFormat::kVllm) return read_vllm_load(bytes, path);
  const bool torch = format == EplbFormat::kSglang || format == EplbFormat::kAscend;
  if (look == Look::kZip && (torch || format == EplbFormat::kAuto)) {
    return read_torch_load(std::move(bytes), path, format);
  }
  if (format == EplbFormat::kAscend || (torch && look != Look::kJson)) {
    return read_torch_load(std::move(bytes), path, format);  // it says what is wrong
  }
  if (format == EplbFormat::kTensorrtLlm) {
    return invalid_input("is a file; the statistic of tensorrt-llm is a directory", path,
                         "give the directory with meta_info.json");
  }
  WS_ASSIGN(const Json json, parse_bounded_json(std::move(bytes), path));
  return read_json_as(json, path, format);
}

// Fills in where an error of a reader forgot the file.
template <class T>
Expected<T> located(Expected<T> result, const std::string& path) {
  if (result) return result;
  Error error = std::move(result).error();
  if (error.where.find(path) == std::string::npos) {
    error.where = error.where.empty() ? path : path + ", " + error.where;
  }
  if (error.kind == ErrorKind::kIo) return as_input(std::move(error));
  return Unexpected(std::move(error));
}

RecordedPlacement of_placement(const Placement& placement) {
  RecordedPlacement out;
  out.format = "wingspan";
  out.epoch = placement.epoch;
  out.model = placement.model;
  out.ranks = placement.topology.ranks();
  out.rank_slots = placement.topology.rank_slots;
  out.experts = placement.topology.experts;
  out.nodes = placement.topology.nodes;
  out.groups = placement.topology.groups;
  for (const LayerPlacement& layer : placement.layers) {
    out.layers.push_back(layer.layer);
    out.slot_to_expert.push_back(layer.slot_to_expert);
  }
  return out;
}

Expected<RecordedPlacement> read_any_placement(const Files& files, const std::string& path) {
  WS_ASSIGN(std::string bytes, read_file(files, path));
  switch (look_of(bytes)) {
    case Look::kZip: {
      WS_ASSIGN(const auto file, TorchFile::open(std::move(bytes), path));
      return read_sglang_placement(file);
    }
    case Look::kText: {
      if (bytes.find("num_slots") == std::string::npos &&
          bytes.find("initial_global_assignments") == std::string::npos) {
        return unknown(path, "neither JSON nor a moe_load_balancer.yaml");
      }
      return read_tensorrt_llm_placement(bytes, path);
    }
    case Look::kUnknown:
      return unknown(path, "neither JSON, YAML nor a zip archive");
    case Look::kJson:
      break;
  }
  if (is_json_lines(bytes)) return read_vllm_placement(bytes, path);
  const bool ours = bytes.find("\"wingspan-placement\"") != std::string::npos;
  if (ours) {
    WS_ASSIGN(const Placement placement, parse_placement(bytes, path));
    return of_placement(placement);
  }
  WS_ASSIGN(const Json json, parse_bounded_json(std::move(bytes), path));
  switch (json_format(json)) {
    case EplbFormat::kSglang:
      return read_sglang_placement(json, path);
    case EplbFormat::kAscend:
      return read_ascend_placement(json, path);
    default:
      return unknown(path, "the JSON has no key of a placement");
  }
}

}  // namespace

std::optional<EplbFormat> eplb_format_from_name(std::string_view name) {
  for (const auto& [format, text] : kNames) {
    if (text == name) return format;
  }
  return std::nullopt;
}

std::string_view eplb_format_name(EplbFormat format) {
  for (const auto& [candidate, text] : kNames) {
    if (candidate == format) return text;
  }
  return "";
}

Expected<RecordedLoad> read_recorded_load(const Files& files, const std::string& path,
                                          EplbFormat format) {
  auto load = files.is_directory(path) ? read_directory(files, path, format)
                                       : read_file_as(files, path, format);
  auto out = located(std::move(load), path);
  if (out) {
    // A sum that overflows is the file's fault: say so here.
    auto total = located(out->total(), path);
    if (!total) return Unexpected(std::move(total).error());
  }
  return out;
}

Expected<RecordedPlacement> read_recorded_placement(const Files& files, const std::string& path) {
  return located(read_any_placement(files, path), path);
}

}  // namespace wingspan
