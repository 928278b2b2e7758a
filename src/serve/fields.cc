#include "serve/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace wingspan::serve {

const Json* Fields::find(const char* key) {
  known_.insert(key);
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

void Fields::fail(const std::string& key, const std::string& message, int status) {
  if (!error_) error_ = ApiError{status, message, key, ""};
}

bool Fields::boolean(const char* key, bool fallback) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  fail(key, fmt::format("{} must be true or false", key));
  return fallback;
}

double Fields::number(const char* key, double low, double high, double fallback) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  const double x = value->is_number() ? value->get<double>() : NAN;
  if (x >= low && x <= high) return x;
  fail(key, fmt::format("{} must be a number from {} to {}", key, low, high));
  return fallback;
}

int64_t Fields::integer(const char* key, int64_t low, int64_t high, int64_t fallback) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  bool whole = value->is_number_integer();
  if (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX) whole = false;
  int64_t x = whole ? value->get<int64_t>() : 0;
  if (value->is_number_float()) {
    const double f = value->get<double>();
    whole = std::abs(f) < 9e15 && f == std::floor(f);
    x = whole ? static_cast<int64_t>(f) : 0;
  }
  if (whole && x >= low && x <= high) return x;
  fail(key, fmt::format("{} must be an integer from {} to {}", key, low, high));
  return fallback;
}

std::string Fields::text(const char* key, const std::string& fallback) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  fail(key, fmt::format("{} must be a string", key));
  return fallback;
}

std::vector<int32_t> Fields::ids(const char* key) {
  const Json* value = find(key);
  return value == nullptr ? std::vector<int32_t>{} : ids(*value, key);
}

std::vector<int32_t> Fields::ids(const Json& list, const std::string& key) {
  std::vector<int32_t> out;
  if (!list.is_array()) {
    fail(key, fmt::format("{} must be a list of token ids", key));
    return out;
  }
  out.reserve(list.size());
  for (const Json& item : list) {
    const bool whole = item.is_number_integer() && !item.is_number_float();
    if (!whole || (item.is_number_unsigned() && item.get<uint64_t>() > INT32_MAX) ||
        item.get<int64_t>() < 0 || item.get<int64_t>() > INT32_MAX) {
      fail(key, fmt::format("{} must be a list of token ids", key));
      return out;
    }
    out.push_back(item.get<int32_t>());
  }
  return out;
}

void Fields::refuse(const char* key, const std::vector<Json>& neutral, const char* why) {
  const Json* value = find(key);
  if (value == nullptr) return;
  if (std::find(neutral.begin(), neutral.end(), *value) != neutral.end()) return;
  fail(key, fmt::format("{} is not supported: {}", key, why));
}

std::vector<std::string> Fields::unknown() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : json_.items()) {
    if (known_.count(key) == 0) out.push_back(key.substr(0, 64));
  }
  return out;
}

}  // namespace wingspan::serve
