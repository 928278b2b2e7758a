#include "tensor/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"
#include "base/json.h"

namespace wingspan {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;

Expected<TensorInfo> parse_tensor(const std::string& path, const std::string& name,
                                  const Json& json, uint64_t data_start, uint64_t data_bytes) {
  const std::string where = path + ", tensor " + name;
  WS_ASSIGN(const JsonObject object, JsonObject::from(json, where));
  WS_ASSIGN(const std::string dtype_text, object.string("dtype"));
  const auto dtype = dtype_from_name(dtype_text);
  if (!dtype) return object.bad("dtype", "\"" + dtype_text + "\" is not known");
  TensorInfo info;
  info.dtype = *dtype;
  WS_ASSIGN(info.shape, object.integers("shape", 0, INT64_MAX));
  if (info.shape.size() > 16) return object.bad("shape", "has more than 16 dimensions");
  uint64_t bytes = static_cast<uint64_t>(dtype_size(*dtype));
  for (int64_t d : info.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(d), &bytes)) {
      return object.bad("shape", fmt::format("[{}] overflows", fmt::join(info.shape, ", ")));
    }
  }
  WS_ASSIGN(const auto offsets, object.integers("data_offsets", 0, INT64_MAX));
  if (offsets.size() != 2 || offsets[0] > offsets[1] ||
      static_cast<uint64_t>(offsets[1]) > data_bytes) {
    return object.bad("data_offsets", fmt::format("[{}] do not lie within the {} bytes of data",
                                                  fmt::join(offsets, ", "), data_bytes));
  }
  info.bytes = static_cast<uint64_t>(offsets[1] - offsets[0]);
  if (info.bytes != bytes) {
    return object.bad("data_offsets",
                      fmt::format("span {} bytes, but shape [{}] of {} takes {}", info.bytes,
                                  fmt::join(info.shape, ", "), dtype_text, bytes));
  }
  info.offset = data_start + static_cast<uint64_t>(offsets[0]);
  return info;
}

// Tensors must cover the data without overlap or hole.
Status check_cover(const std::string& path, const std::map<std::string, TensorInfo>& tensors,
                   uint64_t start, uint64_t end) {
  std::vector<std::pair<uint64_t, const std::pair<const std::string, TensorInfo>*>> order;
  for (const auto& t : tensors) order.push_back({t.second.offset, &t});
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second->second.bytes < b.second->second.bytes;
  });
  uint64_t at = start;
  for (const auto& [offset, tensor] : order) {
    if (offset != at) {
      return invalid_input(fmt::format("tensor {} {} its neighbour", tensor->first,
                                       offset < at ? "overlaps" : "leaves a hole after"),
                           path, "the file is corrupt; fetch it again");
    }
    at = offset + tensor->second.bytes;
  }
  if (at != end) {
    return invalid_input(fmt::format("{} bytes of data belong to no tensor", end - at), path,
                         "the file is corrupt; fetch it again");
  }
  return {};
}

}  // namespace

int64_t TensorInfo::elements() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

Expected<SafetensorsFile> SafetensorsFile::open(const Files& files, const std::string& path) {
  SafetensorsFile out;
  out.path_ = path;
  WS_ASSIGN(out.file_, files.open(path));
  const uint64_t size = out.file_->size();
  uint64_t header = 0;
  if (size < 8) return invalid_input("shorter than the 8 bytes of a header length", path);
  WS_RETURN_IF_ERROR(out.file_->read_at(0, std::as_writable_bytes(std::span(&header, 1))));
  if (header > kMaxHeader || header > size - 8) {
    return invalid_input(fmt::format("header of {} bytes in a file of {}", header, size), path,
                         "the file is truncated or not safetensors");
  }
  std::string text(header, '\0');
  WS_RETURN_IF_ERROR(
      out.file_->read_at(8, std::as_writable_bytes(std::span(text.data(), text.size()))));
  WS_ASSIGN(const Json json, parse_json(text, path));
  if (!json.is_object()) return invalid_input("the header is not a JSON object", path);
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) return invalid_input("__metadata__ is not an object", path);
      for (const auto& [k, v] : value.items()) {
        if (!v.is_string()) return invalid_input("__metadata__ holds more than strings", path);
        out.metadata_[k] = v.get<std::string>();
      }
      continue;
    }
    WS_ASSIGN(out.tensors_[name], parse_tensor(path, name, value, 8 + header, size - 8 - header));
  }
  WS_RETURN_IF_ERROR(check_cover(path, out.tensors_, 8 + header, size));
  return out;
}

Status SafetensorsFile::read(const TensorInfo& info, std::span<std::byte> out) const {
  WS_CHECK(out.size() == info.bytes, "{} != {}", out.size(), info.bytes);
  return file_->read_at(info.offset, out);
}

Status SafetensorsFile::read_part(const TensorInfo& info, uint64_t skip,
                                  std::span<std::byte> out) const {
  WS_CHECK(skip <= info.bytes && out.size() <= info.bytes - skip);
  return file_->read_at(info.offset + skip, out);
}

Expected<Checkpoint> Checkpoint::open(const Files& files, const std::string& directory) {
  Checkpoint out;
  out.directory_ = directory;
  const std::string index_path = directory + "/model.safetensors.index.json";
  std::map<std::string, std::string> wanted;
  std::vector<std::string> names;
  if (files.exists(index_path)) {
    WS_ASSIGN(const std::string text, files.read_text(index_path, kMaxHeader));
    WS_ASSIGN(const Json json, parse_json(text, index_path));
    WS_ASSIGN(const JsonObject object, JsonObject::from(json, index_path));
    WS_ASSIGN(const JsonObject map, object.object("weight_map"));
    for (const auto& [tensor, shard] : map.json().items()) {
      if (!shard.is_string()) return map.bad(tensor, "is not a file name");
      const auto name = shard.get<std::string>();
      if (name.empty() || name.find('/') != std::string::npos || name == "..") {
        return map.bad(tensor, "names a file outside the directory");
      }
      wanted[tensor] = name;
      names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
  } else if (files.exists(directory + "/model.safetensors")) {
    names.push_back("model.safetensors");
  } else {
    return invalid_input("no model.safetensors and no model.safetensors.index.json", directory,
                         "give a Hugging Face model directory");
  }
  for (const auto& name : names) {
    if (!files.exists(directory + "/" + name)) {
      return invalid_input("a shard that the index names is missing", directory + "/" + name,
                           "download the whole model");
    }
    WS_ASSIGN(auto shard, SafetensorsFile::open(files, directory + "/" + name));
    for (const auto& [tensor, info] : shard.tensors()) {
      if (!wanted.empty()) {
        auto it = wanted.find(tensor);
        if (it == wanted.end())
          return invalid_input("tensor " + tensor + " is not in the index", directory + "/" + name);
        if (it->second != name)
          return invalid_input(
              "tensor " + tensor + " is in two shards or in another than the index says",
              directory + "/" + name);
      }
      out.where_[tensor] = out.shards_.size();
    }
    out.shards_.push_back(std::make_shared<const SafetensorsFile>(std::move(shard)));
  }
  for (const auto& [tensor, shard] : wanted) {
    if (!out.where_.count(tensor))
      return invalid_input("the index names tensor " + tensor + ", which " + shard + " lacks",
                           index_path);
  }
  return out;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> out;
  for (const auto& [name, shard] : where_) out.push_back(name);
  return out;
}

Expected<TensorInfo> Checkpoint::info(const std::string& name) const {
  const auto it = where_.find(name);
  if (it == where_.end()) {
    return invalid_input("tensor " + name + " is missing", directory_,
                         "config.json and weights must fit each other");
  }
  return shards_[it->second]->tensors().at(name);
}

Status Checkpoint::read(const std::string& name, std::span<std::byte> out) const {
  WS_ASSIGN(const TensorInfo found, info(name));
  return shards_[where_.at(name)]->read(found, out);
}

Status Checkpoint::read_part(const std::string& name, uint64_t skip,
                             std::span<std::byte> out) const {
  WS_ASSIGN(const TensorInfo found, info(name));
  return shards_[where_.at(name)]->read_part(found, skip, out);
}

uint64_t Checkpoint::total_bytes() const {
  uint64_t total = 0;
  for (const auto& shard : shards_) {
    for (const auto& [name, info] : shard->tensors()) total += info.bytes;
  }
  return total;
}

uint64_t Checkpoint::header_digest() const {
  uint64_t h = hash_mix(kHashSeed, shards_.size());
  for (const auto& shard : shards_) {
    h = hash_mix(h, shard->tensors().size());
    for (const auto& [name, info] : shard->tensors()) {
      for (const char c : name) h = hash_mix(h, static_cast<uint64_t>(c));
      h = hash_mix(h, static_cast<uint64_t>(info.dtype));
      h = hash_mix(h, info.shape.size());
      for (const int64_t d : info.shape) h = hash_mix(h, static_cast<uint64_t>(d));
      h = hash_mix(hash_mix(h, info.offset), info.bytes);
    }
  }
  return h;
}

Status write_safetensors(const Files& files, const std::string& path,
                         const std::vector<TensorToWrite>& tensors) {
  OrderedJson header = OrderedJson::object();
  uint64_t at = 0;
  for (const auto& t : tensors) {
    header[t.name] = {{"dtype", dtype_name(t.dtype)},
                      {"shape", t.shape},
                      {"data_offsets", {at, at + t.bytes.size()}}};
    at += t.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return files.write_atomically(path, [&](FileSink& sink) -> Status {
    const uint64_t size = text.size();
    WS_RETURN_IF_ERROR(sink.write(std::as_bytes(std::span(&size, 1))));
    WS_RETURN_IF_ERROR(sink.write(std::string_view(text)));
    for (const auto& t : tensors) WS_RETURN_IF_ERROR(sink.write(t.bytes));
    return {};
  });
}

}  // namespace wingspan
