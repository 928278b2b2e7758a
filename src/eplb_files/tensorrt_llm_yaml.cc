// TensorRT-LLM's moe_load_balancer.yaml, read as events: nothing is built that the file can blow
// up.
#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include "eplb_files/engine_formats.h"
#include "eplb_files/matrices.h"

namespace wingspan {
namespace {

constexpr const char* kLayers = "initial_global_assignments";
constexpr int kMostDepth = 16;

// Carries the reason out of yaml-cpp, whose parser only stops by an exception.
struct Refused {
  std::string what;
  int line;
};

std::optional<int64_t> integer(const std::string& text) {
  const bool minus = text.starts_with('-');
  const std::string digits = text.substr(minus ? 1 : 0);
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (digits.empty() || digits.size() > 18 || !std::all_of(digits.begin(), digits.end(), digit)) {
    return std::nullopt;
  }
  return minus ? -std::stoll(digits) : std::stoll(digits);
}

// {num_slots: N, initial_global_assignments: {layer: [ids]}, other: anything small}
class Handler final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) refuse("has more than one document", mark);
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "", anchor);
    scalar(mark, "");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse("uses an alias, which is unsupported", mark);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check(mark, tag, anchor);
    scalar(mark, value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    check(mark, tag, anchor);
    enter(mark);
    if (depth_ == 1) refuse("is a list, not a mapping with num_slots", mark);
    if (depth_ == 3 && in_layers()) {
      if (!layer_) refuse("has a list as a layer number", mark);
      row_ = &layers[*layer_];
    } else if (depth_ > 3 && in_layers()) {
      refuse("has a list where an expert id is expected, not an integer", mark);
    } else if (depth_ == 2 && in_layers()) {
      refuse(fmt::format("has {} as a list; a mapping of layers is expected", kLayers), mark);
    }
    is_map_[depth_] = false;
  }
  void OnSequenceEnd() override { leave(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    check(mark, tag, anchor);
    enter(mark);
    if (depth_ > 2 && in_layers()) refuse("has a mapping where expert ids are expected", mark);
    is_map_[depth_] = true;
    is_key_[depth_] = true;
  }
  void OnMapEnd() override { leave(); }

  std::map<int64_t, std::vector<int>> layers;
  std::optional<int64_t> slots;

 private:
  [[noreturn]] static void refuse(const std::string& what, const YAML::Mark& mark) {
    throw Refused{what, mark.line + 1};
  }
  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    // "?" is a plain value, "!" a quoted one.
    if (!tag.empty() && tag != "?" && tag != "!") {
      refuse(fmt::format("has the tag {}, which is not allowed (num_slots is an integer)",
                         tag.substr(0, 60)),
             mark);
    }
    if (anchor != 0) refuse("uses an anchor, which is unsupported", mark);
  }
  bool in_layers() const { return key_ == kLayers; }
  void enter(const YAML::Mark& mark) {
    if (depth_ > 0 && is_map_[depth_] && is_key_[depth_]) refuse("has a key that is no text", mark);
    if (++depth_ >= kMostDepth) refuse("is nested too deep", mark);
  }
  void leave() {
    --depth_;
    row_ = nullptr;
    if (depth_ > 0 && is_map_[depth_]) is_key_[depth_] = true;
  }

  void scalar(const YAML::Mark& mark, const std::string& text) {
    if (depth_ == 0) refuse("is no mapping with num_slots", mark);
    if (!is_map_[depth_]) {
      if (row_ != nullptr) append(mark, text);
      return;
    }
    if (is_key_[depth_]) {
      key(mark, text);
    } else {
      value(mark, text);
    }
    is_key_[depth_] = !is_key_[depth_];
  }

  void key(const YAML::Mark& mark, const std::string& text) {
    if (depth_ == 1) {
      key_ = text.substr(0, 80);
      if (++seen_[key_] > 1) refuse(fmt::format("has the key {} twice (duplicate)", key_), mark);
      if (seen_.size() > 1000) refuse("has too many keys", mark);
    } else if (depth_ == 2 && in_layers()) {
      const auto number = integer(text);
      if (!number || *number < 0 || *number > INT32_MAX) {
        refuse(fmt::format("has \"{}\" as a layer number", text.substr(0, 40)), mark);
      }
      if (layers.count(*number) != 0) {
        refuse(fmt::format("has layer {} twice (duplicate)", *number), mark);
      }
      if (layers.size() >= static_cast<size_t>(kMostLayers)) refuse("has too many layers", mark);
      layer_ = number;
    }
  }

  void value(const YAML::Mark& mark, const std::string& text) {
    if (depth_ == 1 && key_ == "num_slots") {
      slots = integer(text);
      if (!slots || *slots < 1 || *slots > (int64_t{1} << 24)) {
        refuse(fmt::format("has num_slots = \"{}\", not an integer from 1 to {} (too large?)",
                           text.substr(0, 40), 1 << 24),
               mark);
      }
    } else if (in_layers()) {
      refuse(fmt::format("has \"{}\" in {}, where a list of expert ids is expected",
                         text.substr(0, 40), kLayers),
             mark);
    }
  }

  void append(const YAML::Mark& mark, const std::string& text) {
    const auto id = integer(text);
    if (!id || *id < 0 || *id >= kMostExperts) {
      refuse(fmt::format("has \"{}\" as an expert id, not an integer from 0 to {}",
                         text.substr(0, 40), kMostExperts - 1),
             mark);
    }
    row_->push_back(static_cast<int>(*id));
  }

  int documents_ = 0, depth_ = 0;
  bool is_map_[kMostDepth] = {}, is_key_[kMostDepth] = {};
  std::string key_;  // of the top mapping
  std::map<std::string, int> seen_;
  std::optional<int64_t> layer_;
  std::vector<int>* row_ = nullptr;
};

}  // namespace

Expected<RecordedPlacement> read_tensorrt_llm_placement(const std::string& text,
                                                        const std::string& where) {
  Handler handler;
  const auto bad = [&](const std::string& what, int line) {
    return invalid_input("the YAML file " + what, fmt::format("{}, line {}", where, line),
                         "give a moe_load_balancer.yaml");
  };
  try {
    std::istringstream in(text);
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(handler)) {
    }
  } catch (const Refused& refused) {
    return bad(refused.what, refused.line);
  } catch (const YAML::Exception& error) {
    return bad("can't be parsed: " + error.msg, error.mark.line + 1);
  }
  if (!handler.slots) return bad("lacks num_slots", 1);
  RecordedPlacement out;
  out.format = "tensorrt-llm";
  for (auto& [layer, ids] : handler.layers) {
    if (ids.size() != static_cast<size_t>(*handler.slots)) {
      return bad(fmt::format("has {} expert ids in layer {}, but num_slots is {}", ids.size(),
                             layer, *handler.slots),
                 1);
    }
    out.layers.push_back(static_cast<int>(layer));
    out.slot_to_expert.push_back(std::move(ids));
  }
  WS_RETURN_IF_ERROR(check_one_length(out.slot_to_expert, kLayers, where));
  out.experts = experts_named(out.slot_to_expert);
  return out;
}

}  // namespace wingspan
