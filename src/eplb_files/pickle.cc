#include "eplb_files/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>

namespace wingspan {

// Runs the opcodes. Every opcode makes at most one value, and the number of values is bounded.
class PickleMachine {
 public:
  PickleMachine(std::string_view bytes, const std::string& where)
      : bytes_(bytes), where_(where), most_values_((size_t{1} << 20) + bytes.size() / 8) {}

  Expected<Pickle> run() {
    while (true) {
      if (at_ >= bytes_.size()) return bad("the pickle ends without STOP: it is truncated");
      opcode_at_ = at_;
      const auto opcode = static_cast<uint8_t>(bytes_[at_++]);
      if (opcode == '.') break;
      WS_RETURN_IF_ERROR(step(opcode));
      if (out_.values_.size() > most_values_ || stack_.size() > most_values_) {
        return bad("the pickle has more values than its size explains: too large");
      }
    }
    WS_ASSIGN(out_.root_, pop());
    return std::move(out_);
  }

 private:
  Unexpected bad(const std::string& what) const {
    return invalid_input(what, fmt::format("{}, byte {} of data.pkl", where_, opcode_at_),
                         "save the file again with torch.save");
  }

  // ---- input ----
  Expected<std::string_view> take(uint64_t length) {
    if (length > bytes_.size() - at_) {
      return bad("the pickle is truncated: a length goes beyond its end");
    }
    const auto out = bytes_.substr(at_, length);
    at_ += length;
    return out;
  }
  Expected<uint64_t> number(size_t width) {
    WS_ASSIGN(const auto raw, take(width));
    uint64_t out = 0;
    for (size_t i = 0; i < width; ++i) out |= uint64_t{static_cast<uint8_t>(raw[i])} << (8 * i);
    return out;
  }
  Expected<std::string_view> line() {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) return bad("the pickle is truncated in a name");
    const auto out = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return out;
  }

  // ---- values and stack ----
  PickleId add(PickleValue value) {
    out_.values_.push_back(value);
    return static_cast<PickleId>(out_.values_.size() - 1);
  }
  Status push(PickleValue value) {
    stack_.push_back(add(value));
    return {};
  }
  Status push_integer(PickleKind kind, int64_t integer) { return push({kind, integer, 0, 0}); }
  Status push_text(PickleKind kind, std::string_view text) {
    out_.texts_.emplace_back(text);
    return push({kind, 0, 0, static_cast<uint32_t>(out_.texts_.size() - 1)});
  }
  Status push_list(PickleKind kind, std::vector<PickleId> items) {
    out_.lists_.push_back(std::move(items));
    return push({kind, 0, 0, static_cast<uint32_t>(out_.lists_.size() - 1)});
  }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Expected<PickleId> pop() {
    if (stack_.size() <= floor()) return bad("the pickle takes from an empty stack");
    const PickleId id = stack_.back();
    stack_.pop_back();
    return id;
  }
  Expected<PickleId> top() const {
    if (stack_.size() <= floor()) return bad("the pickle looks at an empty stack");
    return stack_.back();
  }
  Expected<std::vector<PickleId>> pop_to_mark() {
    if (marks_.empty()) return bad("the pickle lacks a mark on its stack");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleId> out(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return out;
  }
  Expected<std::vector<PickleId>> pop_some(size_t count) {
    std::vector<PickleId> out(count);
    for (size_t i = count; i-- > 0;) {
      WS_ASSIGN(out[i], pop());
    }
    return out;
  }
  // The list or dict on top of the stack.
  Expected<std::vector<PickleId>*> target(PickleKind kind) {
    WS_ASSIGN(const PickleId id, top());
    const PickleValue& value = out_.values_[id];
    if (value.kind != kind) {
      return bad(fmt::format("the pickle adds to a {}", Pickle::kind_name(value.kind)));
    }
    return &out_.lists_[value.data];
  }
  Status extend(PickleKind kind, const std::vector<PickleId>& items) {
    WS_ASSIGN(auto* list, target(kind));
    if (kind == PickleKind::kDict && items.size() % 2 != 0)
      return bad("the pickle has a key alone");
    list->insert(list->end(), items.begin(), items.end());
    return {};
  }
  Status remember(uint64_t key) {
    WS_ASSIGN(const PickleId id, top());
    if (memo_.size() >= most_values_) return bad("the pickle has too many memo entries");
    memo_[key] = id;
    return {};
  }
  Status recall(uint64_t key) {
    const auto it = memo_.find(key);
    if (it == memo_.end()) return bad("the pickle recalls what it never stored");
    stack_.push_back(it->second);
    return {};
  }

  // ---- opcodes ----
  Status step(uint8_t opcode);
  Expected<bool> plain(uint8_t opcode);
  Expected<bool> containers(uint8_t opcode);
  Expected<bool> memo_and_stack(uint8_t opcode);
  Status objects(uint8_t opcode);
  Status push_global(std::string_view module, std::string_view name);
  Status reduce();
  Status build();
  Status persistent_id();
  Expected<int64_t> integer(PickleId id, const char* what) const;
  Expected<std::vector<int64_t>> integers(PickleId id, const char* what) const;
  Status rebuild_tensor(const std::vector<PickleId>& arguments);

  std::string_view bytes_;
  const std::string& where_;
  size_t most_values_, at_ = 0, opcode_at_ = 0;
  Pickle out_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleId> memo_;
};

Status PickleMachine::step(uint8_t opcode) {
  WS_ASSIGN(bool done, plain(opcode));
  if (done) return {};
  WS_ASSIGN(done, containers(opcode));
  if (done) return {};
  WS_ASSIGN(done, memo_and_stack(opcode));
  if (done) return {};
  return objects(opcode);
}

// Numbers, text and framing.
Expected<bool> PickleMachine::plain(uint8_t opcode) {
  const auto pushed = [](Status status) -> Expected<bool> {
    WS_RETURN_IF_ERROR(std::move(status));
    return true;
  };
  const auto text = [&](PickleKind kind, size_t width) -> Expected<bool> {
    WS_ASSIGN(const uint64_t length, number(width));
    WS_ASSIGN(const auto content, take(length));
    return pushed(push_text(kind, content));
  };
  const auto whole = [&](size_t width, bool is_signed) -> Expected<bool> {
    WS_ASSIGN(const uint64_t raw, number(width));
    const auto value =
        is_signed ? static_cast<int64_t>(static_cast<int32_t>(raw)) : static_cast<int64_t>(raw);
    return pushed(push_integer(PickleKind::kInt, value));
  };
  switch (opcode) {
    case 0x80: {  // PROTO
      WS_ASSIGN(const uint64_t protocol, number(1));
      if (protocol > 5) return bad(fmt::format("pickle protocol {} is not known", protocol));
      return true;
    }
    case 0x95: {  // FRAME
      WS_ASSIGN(const uint64_t length, number(8));
      if (length > bytes_.size() - at_) return bad("the pickle is truncated: a frame is too long");
      return true;
    }
    case 'N':
      return pushed(push({}));
    case 0x88:
      return pushed(push_integer(PickleKind::kBool, 1));
    case 0x89:
      return pushed(push_integer(PickleKind::kBool, 0));
    case 'K':
      return whole(1, false);
    case 'M':
      return whole(2, false);
    case 'J':
      return whole(4, true);
    case 0x8a: {  // LONG1
      WS_ASSIGN(const uint64_t width, number(1));
      if (width > 8) return bad("an integer in the pickle is too large for int64");
      WS_ASSIGN(uint64_t raw, number(width));
      const auto shift = static_cast<int>(64 - 8 * width);
      const int64_t value = width == 0 ? 0 : static_cast<int64_t>(raw << shift) >> shift;
      return pushed(push_integer(PickleKind::kInt, value));
    }
    case 'G': {  // BINFLOAT, big-endian
      WS_ASSIGN(const uint64_t raw, number(8));
      return pushed(
          push({PickleKind::kFloat, 0, std::bit_cast<double>(__builtin_bswap64(raw)), 0}));
    }
    case 'X':
      return text(PickleKind::kText, 4);
    case 0x8c:
      return text(PickleKind::kText, 1);
    case 0x8d:
      return text(PickleKind::kText, 8);
    case 'B':
      return text(PickleKind::kBytes, 4);
    case 'C':
      return text(PickleKind::kBytes, 1);
    case 0x8e:
      return text(PickleKind::kBytes, 8);
    default:
      return false;
  }
}

Expected<bool> PickleMachine::containers(uint8_t opcode) {
  const auto made = [&](PickleKind kind, Expected<std::vector<PickleId>> items) -> Expected<bool> {
    if (!items) return Unexpected(std::move(items).error());
    if (kind == PickleKind::kDict && items->size() % 2 != 0)
      return bad("the pickle has a key alone");
    WS_RETURN_IF_ERROR(push_list(kind, *std::move(items)));
    return true;
  };
  const auto extended = [&](PickleKind kind,
                            Expected<std::vector<PickleId>> items) -> Expected<bool> {
    if (!items) return Unexpected(std::move(items).error());
    WS_RETURN_IF_ERROR(extend(kind, *items));
    return true;
  };
  switch (opcode) {
    case ']':
      return made(PickleKind::kList, std::vector<PickleId>{});
    case '}':
      return made(PickleKind::kDict, std::vector<PickleId>{});
    case ')':
      return made(PickleKind::kTuple, std::vector<PickleId>{});
    case 0x85:
      return made(PickleKind::kTuple, pop_some(1));
    case 0x86:
      return made(PickleKind::kTuple, pop_some(2));
    case 0x87:
      return made(PickleKind::kTuple, pop_some(3));
    case 't':
      return made(PickleKind::kTuple, pop_to_mark());
    case 'l':
      return made(PickleKind::kList, pop_to_mark());
    case 'd':
      return made(PickleKind::kDict, pop_to_mark());
    case 'a':
      return extended(PickleKind::kList, pop_some(1));
    case 'e':
      return extended(PickleKind::kList, pop_to_mark());
    case 's':
      return extended(PickleKind::kDict, pop_some(2));
    case 'u':
      return extended(PickleKind::kDict, pop_to_mark());
    default:
      return false;
  }
}

Expected<bool> PickleMachine::memo_and_stack(uint8_t opcode) {
  const auto with_key = [&](size_t width, bool store) -> Expected<bool> {
    WS_ASSIGN(const uint64_t key, number(width));
    WS_RETURN_IF_ERROR(store ? remember(key) : recall(key));
    return true;
  };
  switch (opcode) {
    case '(':
      marks_.push_back(stack_.size());
      if (marks_.size() > most_values_) return bad("the pickle nests marks too deep");
      return true;
    case 'q':
      return with_key(1, true);
    case 'r':
      return with_key(4, true);
    case 0x94: {  // MEMOIZE
      WS_RETURN_IF_ERROR(remember(memo_.size()));
      return true;
    }
    case 'h':
      return with_key(1, false);
    case 'j':
      return with_key(4, false);
    case '0': {  // POP
      WS_RETURN_IF_ERROR(pop());
      return true;
    }
    case '1': {  // POP_MARK
      WS_RETURN_IF_ERROR(pop_to_mark());
      return true;
    }
    case '2': {  // DUP
      WS_ASSIGN(const PickleId id, top());
      stack_.push_back(id);
      return true;
    }
    default:
      return false;
  }
}

Status PickleMachine::objects(uint8_t opcode) {
  switch (opcode) {
    case 'c': {  // GLOBAL
      WS_ASSIGN(const auto module, line());
      WS_ASSIGN(const auto name, line());
      return push_global(module, name);
    }
    case 0x93: {  // STACK_GLOBAL
      WS_ASSIGN(const auto names, pop_some(2));
      for (const PickleId id : names) {
        if (out_.values_[id].kind != PickleKind::kText) return bad("a global's name is not text");
      }
      const std::string module = out_.text(out_.values_[names[0]]);
      const std::string name = out_.text(out_.values_[names[1]]);
      return push_global(module, name);
    }
    case 'R':
      return reduce();
    case 'b':
      return build();
    case 'Q':
      return persistent_id();
    default:
      return bad(
          fmt::format("pickle opcode 0x{:02x} is unsupported: only tensors and plain values "
                      "are read",
                      opcode));
  }
}

namespace {

constexpr std::string_view kRebuild = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kOrderedDict = "collections.OrderedDict";
constexpr std::string_view kTorch = "torch.";

bool is_storage(std::string_view name) {
  static constexpr std::array<std::string_view, 8> kStorages = {
      "torch.FloatStorage", "torch.DoubleStorage", "torch.LongStorage", "torch.IntStorage",
      "torch.ShortStorage", "torch.CharStorage",   "torch.ByteStorage", "torch.BoolStorage"};
  return std::find(kStorages.begin(), kStorages.end(), name) != kStorages.end();
}

// What may stand in a one-line message.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 80)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out;
}

}  // namespace

Status PickleMachine::push_global(std::string_view module, std::string_view name) {
  const std::string full = fmt::format("{}.{}", module, name);
  const bool dotted = name.find('.') != std::string_view::npos;
  if (dotted || (full != kRebuild && full != kOrderedDict && !is_storage(full))) {
    return bad(
        fmt::format("the pickle names the global {}, which is not allowed; nothing was "
                    "executed",
                    printable(full)));
  }
  return push_text(PickleKind::kGlobal, full);
}

Status PickleMachine::reduce() {
  WS_ASSIGN(const auto parts, pop_some(2));
  const PickleValue& callee = out_.values_[parts[0]];
  const PickleValue& arguments = out_.values_[parts[1]];
  if (callee.kind != PickleKind::kGlobal || arguments.kind != PickleKind::kTuple) {
    return bad("the pickle calls something that is no allowed global");
  }
  const std::vector<PickleId> list = out_.items(arguments);
  if (out_.text(callee) == kOrderedDict) {
    if (!list.empty()) return bad("the pickle makes an OrderedDict with arguments: unsupported");
    return push_list(PickleKind::kDict, {});
  }
  if (out_.text(callee) == kRebuild) return rebuild_tensor(list);
  return bad("the pickle calls " + out_.text(callee) + ", which is not allowed");
}

// State set on an OrderedDict is not needed; on anything else it is refused.
Status PickleMachine::build() {
  WS_RETURN_IF_ERROR(pop());
  WS_ASSIGN(const PickleId id, top());
  if (out_.values_[id].kind == PickleKind::kDict) return {};
  return bad("the pickle sets the state of an object: unsupported");
}

Expected<int64_t> PickleMachine::integer(PickleId id, const char* what) const {
  const PickleValue& value = out_.values_[id];
  if (value.kind != PickleKind::kInt)
    return bad(fmt::format("a tensor's {} is not an integer", what));
  return value.integer;
}

Expected<std::vector<int64_t>> PickleMachine::integers(PickleId id, const char* what) const {
  const PickleValue& value = out_.values_[id];
  if (value.kind != PickleKind::kTuple && value.kind != PickleKind::kList) {
    return bad(fmt::format("a tensor's {} is not a tuple", what));
  }
  std::vector<int64_t> out;
  for (const PickleId item : out_.items(value)) {
    WS_ASSIGN(const int64_t number, integer(item, what));
    out.push_back(number);
  }
  return out;
}

// ("storage", type, key, location, elements)
Status PickleMachine::persistent_id() {
  WS_ASSIGN(const PickleId id, pop());
  const PickleValue& tuple = out_.values_[id];
  if (tuple.kind != PickleKind::kTuple || out_.items(tuple).size() != 5) {
    return bad("a persistent id is no storage of torch");
  }
  const std::vector<PickleId> parts = out_.items(tuple);
  const auto kind = [&](size_t i) { return out_.values_[parts[i]].kind; };
  if (kind(0) != PickleKind::kText || out_.text(out_.values_[parts[0]]) != "storage" ||
      kind(1) != PickleKind::kGlobal || kind(2) != PickleKind::kText) {
    return bad("a persistent id is no storage of torch");
  }
  PickleStorage storage;
  storage.type = out_.text(out_.values_[parts[1]]);
  if (!is_storage(storage.type)) return bad("a storage has the type " + storage.type);
  storage.type.erase(0, kTorch.size());
  storage.key = out_.text(out_.values_[parts[2]]);
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (storage.key.empty() || storage.key.size() > 10 ||
      !std::all_of(storage.key.begin(), storage.key.end(), digit)) {
    return bad(fmt::format("the storage key \"{}\" is not a number", printable(storage.key)));
  }
  WS_ASSIGN(storage.elements, integer(parts[4], "storage size"));
  out_.storages_.push_back(std::move(storage));
  return push({PickleKind::kStorage, 0, 0, static_cast<uint32_t>(out_.storages_.size() - 1)});
}

// (storage, offset, shape, strides, requires_grad, hooks)
Status PickleMachine::rebuild_tensor(const std::vector<PickleId>& arguments) {
  if (arguments.size() < 6 || out_.values_[arguments[0]].kind != PickleKind::kStorage) {
    return bad("a tensor is rebuilt from something else than a storage");
  }
  PickleTensor tensor;
  tensor.storage = arguments[0];
  WS_ASSIGN(tensor.offset, integer(arguments[1], "offset"));
  WS_ASSIGN(tensor.shape, integers(arguments[2], "shape"));
  WS_ASSIGN(tensor.strides, integers(arguments[3], "strides"));
  out_.tensors_.push_back(std::move(tensor));
  return push({PickleKind::kTensor, 0, 0, static_cast<uint32_t>(out_.tensors_.size() - 1)});
}

Expected<Pickle> Pickle::parse(std::string_view bytes, const std::string& where) {
  return PickleMachine(bytes, where).run();
}

const PickleId* Pickle::find(PickleId dict, std::string_view key) const {
  if (values_[dict].kind != PickleKind::kDict) return nullptr;
  const auto& list = items(values_[dict]);
  for (size_t i = list.size(); i >= 2; i -= 2) {
    const PickleValue& candidate = values_[list[i - 2]];
    if (candidate.kind == PickleKind::kText && text(candidate) == key) return &list[i - 1];
  }
  return nullptr;
}

const char* Pickle::kind_name(PickleKind kind) {
  static constexpr std::array<const char*, 12> kNames = {
      "None", "bool",  "integer",    "float",  "text",    "bytes",
      "list", "tuple", "dictionary", "global", "storage", "tensor"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace wingspan
