#include "eplb_files/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace wingspan {
namespace {

constexpr size_t kMostDimensions = 3;
constexpr std::string_view kPickleName = "/data.pkl";

struct StorageType {
  std::string_view name;
  size_t item;
};
constexpr StorageType kStorageTypes[] = {
    {"FloatStorage", 4}, {"DoubleStorage", 8}, {"LongStorage", 8}, {"IntStorage", 4},
    {"ShortStorage", 2}, {"CharStorage", 1},   {"ByteStorage", 1}, {"BoolStorage", 1}};

size_t item_size(const std::string& type) {
  for (const auto& [name, item] : kStorageTypes) {
    if (name == type) return item;
  }
  return 0;
}

uint64_t load_raw(const char* at, size_t item, bool swap) {
  uint64_t raw = 0;
  for (size_t i = 0; i < item; ++i) {
    const size_t from = swap ? item - 1 - i : i;
    raw |= uint64_t{static_cast<uint8_t>(at[from])} << (8 * i);
  }
  return raw;
}

int64_t signed_value(uint64_t raw, size_t item) {
  const auto shift = static_cast<int>(64 - 8 * item);
  return static_cast<int64_t>(raw << shift) >> shift;
}

// The element at `at`, put where its type says.
void append_element(const std::string& type, uint64_t raw, size_t item, TorchTensor& out) {
  if (type == "FloatStorage") {
    out.real.push_back(std::bit_cast<float>(static_cast<uint32_t>(raw)));
  } else if (type == "DoubleStorage") {
    out.real.push_back(std::bit_cast<double>(raw));
  } else if (type == "ByteStorage" || type == "BoolStorage") {
    out.whole.push_back(static_cast<int64_t>(raw));
  } else {
    out.whole.push_back(signed_value(raw, item));
  }
}

// Elements of the shape; −1: negative, overflowing or above `most`.
int64_t element_count(const std::vector<int64_t>& shape, uint64_t most) {
  int64_t count = 1;
  for (const int64_t n : shape) {
    if (n < 0 || __builtin_mul_overflow(count, n, &count)) return -1;
  }
  return static_cast<uint64_t>(count) > most ? -1 : count;
}

// Whether every element lies in a storage of that many elements.
bool inside(const PickleTensor& tensor, int64_t elements) {
  if (tensor.offset < 0) return false;
  int64_t last = tensor.offset;
  for (size_t d = 0; d < tensor.shape.size(); ++d) {
    int64_t reach = 0;
    if (tensor.strides[d] < 0 ||
        __builtin_mul_overflow(tensor.shape[d] - 1, tensor.strides[d], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return false;
    }
  }
  return last < elements;
}

}  // namespace

Expected<TorchFile> TorchFile::open(std::string bytes, const std::string& where) {
  const uint64_t size = bytes.size();
  if (!bytes.starts_with("PK")) {
    return invalid_input("not a zip archive (perhaps a legacy torch.save file)", where,
                         "save it again with torch.save of torch 1.6 or later");
  }
  WS_ASSIGN(auto zip, ZipArchive::open(std::move(bytes), where));
  std::string name;
  for (const std::string& candidate : zip.names()) {
    if (!candidate.ends_with(kPickleName)) continue;
    if (!name.empty()) {
      return invalid_input("two records are named data.pkl: ambiguous", where,
                           "save it again with torch.save");
    }
    name = candidate;
  }
  if (name.empty()) {
    return invalid_input("the zip archive has no data.pkl", where, "give a file of torch.save");
  }
  WS_ASSIGN(const std::string code, zip.read(name));
  WS_ASSIGN(auto pickle, Pickle::parse(code, where));
  TorchFile out(std::move(zip), std::move(pickle), where);
  out.prefix_ = name.substr(0, name.size() - kPickleName.size());
  // A tensor may repeat its storage (stride 0), but not without bound.
  out.most_elements_ = size + 65536;
  const std::string order = out.prefix_ + "/byteorder";
  if (out.zip_.has(order)) {
    WS_ASSIGN(const std::string text, out.zip_.read(order));
    if (text != "little" && text != "big") {
      return invalid_input("the byteorder record says neither little nor big", where,
                           "save it again with torch.save");
    }
    out.swap_bytes_ = text == "big";
  }
  return out;
}

Expected<std::string> TorchFile::storage_bytes(const PickleStorage& storage, size_t item,
                                               const std::string& name) const {
  const std::string record = fmt::format("{}/data/{}", prefix_, storage.key);
  if (!zip_.has(record)) {
    return invalid_input(fmt::format("the storage of {} (key {}) is missing", name, storage.key),
                         where_, "save it again with torch.save");
  }
  WS_ASSIGN(auto bytes, zip_.read(record));
  int64_t need = 0;
  if (storage.elements < 0 ||
      __builtin_mul_overflow(storage.elements, static_cast<int64_t>(item), &need) ||
      static_cast<uint64_t>(need) != bytes.size()) {
    return invalid_input(fmt::format("the storage of {} has {} bytes, not the size of its {} "
                                     "elements of {} bytes",
                                     name, bytes.size(), storage.elements, item),
                         where_, "save it again with torch.save");
  }
  return bytes;
}

Expected<TorchTensor> TorchFile::tensor(const PickleTensor& tensor, const std::string& name) const {
  const auto bad = [&](const std::string& what) {
    return invalid_input(fmt::format("tensor {} {}", name, what), where_,
                         "save it again with torch.save");
  };
  if (tensor.shape.size() > kMostDimensions) {
    return bad(
        fmt::format("has {} dimensions, more than {}", tensor.shape.size(), kMostDimensions));
  }
  if (tensor.shape.size() != tensor.strides.size()) return bad("has not one stride a dimension");
  const int64_t count = element_count(tensor.shape, most_elements_);
  if (count < 0) return bad("has an impossible or too large shape");
  const PickleStorage& storage = pickle_.storage(tensor.storage);
  const size_t item = item_size(storage.type);
  if (item == 0) return bad("has the unsupported type " + storage.type);
  WS_ASSIGN(const std::string bytes, storage_bytes(storage, item, name));
  if (count > 0 && !inside(tensor, storage.elements)) {
    return bad("reaches beyond its storage (shape, stride or offset)");
  }
  TorchTensor out;
  out.shape = tensor.shape;
  out.is_real = storage.type == "FloatStorage" || storage.type == "DoubleStorage";
  (out.is_real ? out.real.reserve(static_cast<size_t>(count))
               : out.whole.reserve(static_cast<size_t>(count)));
  std::vector<int64_t> index(tensor.shape.size());
  for (int64_t n = 0; n < count; ++n) {
    int64_t at = tensor.offset;
    for (size_t d = 0; d < index.size(); ++d) at += index[d] * tensor.strides[d];
    const char* from = bytes.data() + static_cast<size_t>(at) * item;
    append_element(storage.type, load_raw(from, item, swap_bytes_), item, out);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < tensor.shape[d]) break;
      index[d] = 0;
    }
  }
  return out;
}

// Lists of lists of numbers, all of one length a level, without recursion.
Expected<TorchTensor> TorchFile::lists(PickleId id, const std::string& name) const {
  const auto bad = [&](const std::string& what) {
    return invalid_input(fmt::format("{} {}", name, what), where_,
                         "give a tensor or lists of numbers");
  };
  const auto is_list = [&](PickleId v) {
    const PickleKind kind = pickle_.value(v).kind;
    return kind == PickleKind::kList || kind == PickleKind::kTuple;
  };
  TorchTensor out;
  std::vector<PickleId> level{id};
  while (!level.empty() && is_list(level.front())) {
    if (out.shape.size() == kMostDimensions) return bad("is nested too deep: too many dimensions");
    std::vector<PickleId> next;
    const size_t width = pickle_.items(pickle_.value(level.front())).size();
    for (const PickleId v : level) {
      if (!is_list(v)) return bad("mixes lists and numbers");
      const auto& items = pickle_.items(pickle_.value(v));
      if (items.size() != width) return bad("has rows of different length");
      if (next.size() + width > most_elements_) return bad("is too large for its file");
      next.insert(next.end(), items.begin(), items.end());
    }
    out.shape.push_back(static_cast<int64_t>(width));
    level = std::move(next);
  }
  for (const PickleId v : level) {
    out.is_real = out.is_real || pickle_.value(v).kind == PickleKind::kFloat;
  }
  for (const PickleId v : level) {
    const PickleValue& value = pickle_.value(v);
    if (value.kind != PickleKind::kInt && value.kind != PickleKind::kFloat) {
      return bad(fmt::format("holds a {}, not a number", Pickle::kind_name(value.kind)));
    }
    if (out.is_real) {
      out.real.push_back(value.kind == PickleKind::kInt ? static_cast<double>(value.integer)
                                                        : value.real);
    } else {
      out.whole.push_back(value.integer);
    }
  }
  return out;
}

Expected<TorchTensor> TorchFile::numbers(PickleId id, const std::string& name) const {
  switch (pickle_.value(id).kind) {
    case PickleKind::kTensor:
      return tensor(pickle_.tensor(id), name);
    case PickleKind::kList:
    case PickleKind::kTuple:
      return lists(id, name);
    default:
      return invalid_input(
          fmt::format("{} is a {}, not a tensor", name, Pickle::kind_name(pickle_.value(id).kind)),
          where_, "give a file as its engine writes it");
  }
}

}  // namespace wingspan
