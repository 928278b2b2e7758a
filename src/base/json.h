// JSON of untrusted files: bounded, without duplicate keys, with errors that name the place.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace wingspan {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

struct JsonLimits {
  size_t max_bytes = size_t{1} << 30;
  int max_depth = 64;
};

// Parses one UTF-8 document. Errors (kInvalidInput): not JSON, not UTF-8, trailing text, a
// duplicate key, too deep, too long, a number that is not finite. `where` (usually the path) goes
// into them.
Expected<Json> parse_json(std::string_view text, const std::string& where, JsonLimits limits = {});

// Typed access to one object. Every error names `where` and the key.
class JsonObject {
 public:
  // `json` must outlive this object.
  static Expected<JsonObject> from(const Json& json, std::string where);

  bool has(const std::string& key) const;  // present and not null
  // Required values; an integer may be written 3 or 3.0, and must lie in [low, high].
  Expected<int64_t> integer(const std::string& key, int64_t low, int64_t high) const;
  Expected<double> number(const std::string& key, double low, double high) const;
  Expected<bool> boolean(const std::string& key) const;
  Expected<std::string> string(const std::string& key) const;
  Expected<JsonObject> object(const std::string& key) const;
  // An array of integers in [low, high].
  Expected<std::vector<int64_t>> integers(const std::string& key, int64_t low, int64_t high) const;
  // The same with a default for a key that is absent or null.
  Expected<int64_t> integer_or(const std::string& key, int64_t low, int64_t high,
                               int64_t fallback) const;
  Expected<double> number_or(const std::string& key, double low, double high,
                             double fallback) const;
  Expected<bool> boolean_or(const std::string& key, bool fallback) const;
  Expected<std::string> string_or(const std::string& key, const std::string& fallback) const;

  const Json& json() const { return *json_; }
  const std::string& where() const { return where_; }
  // An error about `key` of this object.
  Unexpected bad(const std::string& key, const std::string& what) const;

 private:
  JsonObject(const Json* json, std::string where) : json_(json), where_(std::move(where)) {}
  const Json* find(const std::string& key) const;
  const Json* json_;
  std::string where_;
};

}  // namespace wingspan
