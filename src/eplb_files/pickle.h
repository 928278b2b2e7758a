// A small reader of pickles that executes nothing: it knows plain containers, numbers and text, and
// the three things that a torch tensor needs. Whatever else a pickle names is refused by name.
//
// Source: Python's pickletools (protocols 2 to 5), torch/serialization.py (persistent ids).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace wingspan {

// Values live in one arena and refer to each other by index, so a pickle may nest, share and even
// contain itself without harm.
using PickleId = uint32_t;

struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,
    kFloat,
    kText,
    kBytes,
    kList,
    kTuple,
    kDict,
    kGlobal,
    kStorage,
    kTensor
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;  // kBool, kInt
  double real = 0;      // kFloat
  uint32_t data = 0;    // index into texts, lists, storages or tensors
};

using PickleKind = PickleValue::Kind;

struct PickleStorage {
  std::string type, key;  // "FloatStorage", "0"
  int64_t elements = 0;
};

struct PickleTensor {
  PickleId storage = 0;
  int64_t offset = 0;
  std::vector<int64_t> shape, strides;  // in elements
};

class Pickle {
 public:
  // Errors (kInvalidInput, with `where` and the byte): a global that is not allowed, an opcode that
  // is not known, a stack or mark that is missing, text beyond the end, no STOP, too many values.
  static Expected<Pickle> parse(std::string_view bytes, const std::string& where);

  PickleId root() const { return root_; }
  const PickleValue& value(PickleId id) const { return values_[id]; }
  const std::string& text(const PickleValue& v) const { return texts_[v.data]; }
  // Items of a list or tuple; of a dict, key and value in turn.
  const std::vector<PickleId>& items(const PickleValue& v) const { return lists_[v.data]; }
  const PickleStorage& storage(PickleId id) const { return storages_[values_[id].data]; }
  const PickleTensor& tensor(PickleId id) const { return tensors_[values_[id].data]; }
  // The value of a text key, or null; the last one where a key repeats, as Python has it.
  const PickleId* find(PickleId dict, std::string_view key) const;
  static const char* kind_name(PickleValue::Kind kind);

 private:
  friend class PickleMachine;
  std::vector<PickleValue> values_;
  std::vector<std::string> texts_;
  std::vector<std::vector<PickleId>> lists_;
  std::vector<PickleStorage> storages_;
  std::vector<PickleTensor> tensors_;
  PickleId root_ = 0;
};

}  // namespace wingspan
