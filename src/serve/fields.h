// The fields of one JSON object from a client. The first error counts; what is read after it has
// its default, so that a parser reads on and looks once at the end.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "serve/openai_request.h"

namespace wingspan::serve {

class Fields {
 public:
  // `json` is an object and outlives this.
  explicit Fields(const Json& json) : json_(json) {}

  // Null where the field is absent or null. The field is known from then on.
  const Json* find(const char* key);
  bool boolean(const char* key, bool fallback);
  double number(const char* key, double low, double high, double fallback);
  int64_t integer(const char* key, int64_t low, int64_t high, int64_t fallback);
  std::string text(const char* key, const std::string& fallback);
  // A list of ids.
  std::vector<int32_t> ids(const char* key);
  std::vector<int32_t> ids(const Json& list, const std::string& key);
  void fail(const std::string& key, const std::string& message, int status = 400);
  // Known, not supported: an error unless it has one of its neutral values (null always is).
  void refuse(const char* key, const std::vector<Json>& neutral, const char* why);
  void ignore(const char* key) { known_.insert(key); }

  const std::optional<ApiError>& error() const { return error_; }
  std::vector<std::string> unknown() const;

 private:
  const Json& json_;
  std::set<std::string> known_;
  std::optional<ApiError> error_;
};

}  // namespace wingspan::serve
