// TensorRT-LLM's expert statistic: meta_info.json and one safetensors file a rank.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "eplb_files/engine_formats.h"
#include "eplb_files/matrices.h"
#include "tensor/safetensors.h"

namespace wingspan {
namespace {

bool all_digits(std::string_view text) {
  return !text.empty() && text.size() <= 9 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// rank0.safetensors; neither rank0_raw.safetensors nor cooccurrence_rank0.safetensors.
bool is_rank_file(std::string_view name) {
  constexpr std::string_view kPrefix = "rank", kSuffix = ".safetensors";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return false;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(std::min(name.size(), kSuffix.size()));
  return all_digits(name);
}

struct Key {
  int iteration, layer;
  auto operator<=>(const Key&) const = default;
};

Expected<Key> parse_key(const std::string& name, const std::string& where) {
  const size_t bar = name.find('_');
  if (bar == std::string::npos || !all_digits(std::string_view(name).substr(0, bar)) ||
      !all_digits(std::string_view(name).substr(bar + 1))) {
    return invalid_input(
        fmt::format("the tensor key \"{}\" is not <iteration>_<layer>", name.substr(0, 80)), where,
        "give the directory of EXPERT_STATISTIC_PATH");
  }
  return Key{std::stoi(name.substr(0, bar)), std::stoi(name.substr(bar + 1))};
}

template <class T>
Status append_all(const std::vector<std::byte>& bytes, CountTable& out) {
  for (size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    if constexpr (std::is_floating_point_v<T>) {
      WS_RETURN_IF_ERROR(out.append(static_cast<double>(value)));
    } else {
      WS_RETURN_IF_ERROR(out.append(static_cast<int64_t>(value)));
    }
  }
  return {};
}

Expected<CountTable> read_counts(const SafetensorsFile& file, const std::string& name,
                                 const TensorInfo& info, int experts) {
  const std::string where = file.path() + ", tensor " + name;
  if (info.shape.size() != 1) {
    return invalid_input(
        fmt::format("has {} dimensions; the shape must be [num_experts]", info.shape.size()),
        where);
  }
  if (info.shape[0] != experts) {
    return invalid_input(fmt::format("has {} counts, but num_experts in meta_info.json is {}",
                                     info.shape[0], experts),
                         where);
  }
  std::vector<std::byte> bytes(info.bytes);
  WS_RETURN_IF_ERROR(file.read(info, bytes));
  CountTable out(1, static_cast<size_t>(experts));
  Status status;
  switch (info.dtype) {
    case DType::kI64:
      status = append_all<int64_t>(bytes, out);
      break;
    case DType::kI32:
      status = append_all<int32_t>(bytes, out);
      break;
    case DType::kF32:
      status = append_all<float>(bytes, out);
      break;
    case DType::kF64:
      status = append_all<double>(bytes, out);
      break;
    default:
      return invalid_input(fmt::format("has the unsupported type {}", dtype_name(info.dtype)),
                           where);
  }
  if (!status) return invalid_input(status.error().what, where);
  return out;
}

Expected<int> experts_of(const Files& files, const std::string& directory) {
  const std::string path = directory + "/meta_info.json";
  if (!files.exists(path)) {
    WS_ASSIGN(const auto names, files.list(directory));
    const auto rank = std::find_if(names.begin(), names.end(), is_rank_file);
    const std::string where = rank == names.end() ? directory : directory + "/" + *rank;
    return invalid_input("meta_info.json is missing beside the counts", where,
                         "give the directory of EXPERT_STATISTIC_PATH");
  }
  WS_ASSIGN(auto text, files.read_text(path, uint64_t{1} << 20));
  WS_ASSIGN(const Json json, parse_bounded_json(std::move(text), path));
  WS_ASSIGN(const JsonObject meta, JsonObject::from(json, path));
  WS_ASSIGN(const int64_t experts, meta.integer("num_experts", 1, kMostExperts));
  return static_cast<int>(experts);
}

// Sums over the ranks, by iteration and layer.
Expected<std::map<Key, CountTable>> read_ranks(const Files& files, const std::string& directory,
                                               int experts) {
  WS_ASSIGN(const auto names, files.list(directory));
  std::map<Key, CountTable> out;
  for (const std::string& name : names) {
    if (!is_rank_file(name)) continue;
    WS_ASSIGN(const auto file, SafetensorsFile::open(files, directory + "/" + name));
    for (const auto& [key_text, info] : file.tensors()) {
      WS_ASSIGN(const Key key, parse_key(key_text, file.path()));
      WS_ASSIGN(auto counts, read_counts(file, key_text, info, experts));
      const auto at = out.find(key);
      if (at == out.end()) {
        out.emplace(key, std::move(counts));
      } else if (Status sum = at->second.add(counts); !sum) {
        return invalid_input(sum.error().what, file.path() + ", tensor " + key_text);
      }
    }
  }
  if (out.empty()) {
    return invalid_input("no rank<N>.safetensors with counts", directory,
                         "give the directory of EXPERT_STATISTIC_PATH");
  }
  return out;
}

}  // namespace

Expected<RecordedLoad> read_tensorrt_llm_load(const Files& files, const std::string& directory) {
  RecordedLoad load;
  load.format = "tensorrt-llm";
  WS_ASSIGN(load.experts, experts_of(files, directory));
  WS_ASSIGN(const auto sums, read_ranks(files, directory, load.experts));
  std::set<int> layers, iterations;
  for (const auto& [key, counts] : sums) {
    layers.insert(key.layer);
    iterations.insert(key.iteration);
  }
  load.layers.assign(layers.begin(), layers.end());
  int expected = *iterations.begin();
  for (const int iteration : iterations) {
    if (iteration != expected++) {
      return invalid_input(fmt::format("iteration {} is missing", expected - 1), directory,
                           "give a gapless range of iterations");
    }
    CountTable table(layers.size(), static_cast<size_t>(load.experts));
    for (const int layer : layers) {
      const auto found = sums.find({iteration, layer});
      if (found == sums.end()) {
        return invalid_input(
            fmt::format("iteration {} has no counts for layer {}", iteration, layer), directory,
            "record again, or remove the incomplete iteration");
      }
      for (int e = 0; e < load.experts; ++e) {
        const auto expert = static_cast<size_t>(e);
        WS_RETURN_IF_ERROR(found->second.is_whole()
                               ? table.append(found->second.whole_at(0, expert))
                               : table.append(found->second.at(0, expert)));
      }
    }
    load.windows.push_back({1, 0, std::move(table)});
  }
  return load;
}

}  // namespace wingspan
