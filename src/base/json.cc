#include "base/json.h"

#include <fmt/format.h>

#include <cmath>
#include <unordered_set>

namespace wingspan {
namespace {

// Builds the document by nlohmann's own DOM builder, with the checks that it lacks put before it.
class StrictSax final : public nlohmann::json_sax<Json> {
 public:
  StrictSax(Json& out, JsonLimits limits) : dom_(out, false), limits_(limits) {}

  bool null() override { return dom_.null(); }
  bool boolean(bool v) override { return dom_.boolean(v); }
  bool number_integer(int64_t v) override { return dom_.number_integer(v); }
  bool number_unsigned(uint64_t v) override { return dom_.number_unsigned(v); }
  bool number_float(double v, const std::string& text) override {
    if (!std::isfinite(v)) return refuse("the number " + text.substr(0, 40) + " is not finite");
    return dom_.number_float(v, text);
  }
  bool string(std::string& v) override { return dom_.string(v); }
  bool binary(Json::binary_t& v) override { return dom_.binary(v); }
  bool start_object(size_t n) override {
    if (!enter()) return false;
    keys_.emplace_back();
    return dom_.start_object(n);
  }
  bool key(std::string& v) override {
    if (!keys_.back().insert(v).second) return refuse("duplicate key \"" + v.substr(0, 80) + "\"");
    return dom_.key(v);
  }
  bool end_object() override {
    keys_.pop_back();
    --depth_;
    return dom_.end_object();
  }
  bool start_array(size_t n) override { return enter() && dom_.start_array(n); }
  bool end_array() override {
    --depth_;
    return dom_.end_array();
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& e) override {
    std::string text = e.what();
    // nlohmann's text starts with "[json.exception...] "; the position is what helps.
    if (auto end = text.find("] "); end != std::string::npos) text = text.substr(end + 2);
    // It may quote bytes that are no UTF-8.
    for (char& c : text) {
      if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
    }
    return refuse(fmt::format("not valid JSON at byte {}: {}", position, text.substr(0, 200)));
  }

  const std::string& reason() const { return reason_; }

 private:
  bool enter() {
    if (++depth_ > limits_.max_depth) {
      return refuse(fmt::format("nested deeper than {} levels", limits_.max_depth));
    }
    return true;
  }
  bool refuse(std::string reason) {
    if (reason_.empty()) reason_ = std::move(reason);
    return false;
  }

  nlohmann::detail::json_sax_dom_parser<Json> dom_;
  JsonLimits limits_;
  int depth_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;
  std::string reason_;
};

}  // namespace

Expected<Json> parse_json(std::string_view text, const std::string& where, JsonLimits limits) {
  if (text.size() > limits.max_bytes) {
    return invalid_input(
        fmt::format("{} bytes of JSON, more than the limit of {}", text.size(), limits.max_bytes),
        where);
  }
  // The parser takes a NUL for the end and would not look at what follows.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return invalid_input(fmt::format("not valid JSON: a NUL at byte {}, perhaps trailing", nul),
                         where);
  }
  Json out;
  StrictSax sax(out, limits);
  if (!Json::sax_parse(text.begin(), text.end(), &sax)) {
    return invalid_input(sax.reason().empty() ? "not valid JSON" : sax.reason(), where);
  }
  return out;
}

Expected<JsonObject> JsonObject::from(const Json& json, std::string where) {
  if (!json.is_object()) {
    return invalid_input(fmt::format("expected a JSON object, found {}", json.type_name()), where);
  }
  return JsonObject(&json, std::move(where));
}

const Json* JsonObject::find(const std::string& key) const {
  auto it = json_->find(key);
  return it == json_->end() || it->is_null() ? nullptr : &*it;
}

bool JsonObject::has(const std::string& key) const { return find(key) != nullptr; }

Unexpected JsonObject::bad(const std::string& key, const std::string& what) const {
  return invalid_input(fmt::format("\"{}\" {}", key, what), where_);
}

namespace {

// An integer written as integer or as a whole floating-point number; nothing else.
std::optional<int64_t> whole(const Json& v) {
  if (v.is_number_unsigned()) {
    const auto u = v.get<uint64_t>();
    if (u > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
    return static_cast<int64_t>(u);
  }
  if (v.is_number_integer()) return v.get<int64_t>();
  if (v.is_number_float()) {
    const double d = v.get<double>();
    if (d == std::floor(d) && std::fabs(d) <= 9007199254740992.0) return static_cast<int64_t>(d);
  }
  return std::nullopt;
}

}  // namespace

Expected<int64_t> JsonObject::integer(const std::string& key, int64_t low, int64_t high) const {
  const Json* v = find(key);
  if (v == nullptr) return bad(key, "is missing");
  const auto value = whole(*v);
  if (!value) return bad(key, "is not an integer: " + v->dump().substr(0, 40));
  if (*value < low || *value > high) {
    return bad(key, fmt::format("is {}, outside [{}, {}]", *value, low, high));
  }
  return *value;
}

Expected<double> JsonObject::number(const std::string& key, double low, double high) const {
  const Json* v = find(key);
  if (v == nullptr) return bad(key, "is missing");
  if (!v->is_number()) return bad(key, "is not a number: " + v->dump().substr(0, 40));
  const auto value = v->get<double>();
  if (!(value >= low && value <= high)) {
    return bad(key, fmt::format("is {}, outside [{}, {}]", value, low, high));
  }
  return value;
}

Expected<bool> JsonObject::boolean(const std::string& key) const {
  const Json* v = find(key);
  if (v == nullptr) return bad(key, "is missing");
  if (!v->is_boolean()) return bad(key, "is not true or false: " + v->dump().substr(0, 40));
  return v->get<bool>();
}

Expected<std::string> JsonObject::string(const std::string& key) const {
  const Json* v = find(key);
  if (v == nullptr) return bad(key, "is missing");
  if (!v->is_string()) return bad(key, "is not a string: " + v->dump().substr(0, 40));
  return v->get<std::string>();
}

Expected<JsonObject> JsonObject::object(const std::string& key) const {
  const Json* v = find(key);
  if (v == nullptr) return bad(key, "is missing");
  if (!v->is_object()) return bad(key, "is not an object: " + v->dump().substr(0, 40));
  return JsonObject(v, where_ + ", \"" + key + "\"");
}

Expected<std::vector<int64_t>> JsonObject::integers(const std::string& key, int64_t low,
                                                    int64_t high) const {
  const Json* v = find(key);
  if (v == nullptr) return bad(key, "is missing");
  if (!v->is_array()) return bad(key, "is not an array");
  std::vector<int64_t> out;
  out.reserve(v->size());
  for (const Json& item : *v) {
    const auto value = whole(item);
    if (!value || *value < low || *value > high) {
      return bad(key, fmt::format("has entry {} = {}, not an integer in [{}, {}]", out.size(),
                                  item.dump().substr(0, 40), low, high));
    }
    out.push_back(*value);
  }
  return out;
}

Expected<int64_t> JsonObject::integer_or(const std::string& key, int64_t low, int64_t high,
                                         int64_t fallback) const {
  if (!has(key)) return fallback;
  return integer(key, low, high);
}

Expected<double> JsonObject::number_or(const std::string& key, double low, double high,
                                       double fallback) const {
  if (!has(key)) return fallback;
  return number(key, low, high);
}

Expected<bool> JsonObject::boolean_or(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  return boolean(key);
}

Expected<std::string> JsonObject::string_or(const std::string& key,
                                            const std::string& fallback) const {
  if (!has(key)) return fallback;
  return string(key);
}

}  // namespace wingspan
