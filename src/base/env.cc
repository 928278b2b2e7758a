#include "base/env.h"

#include <cstdlib>

namespace wingspan {

std::optional<std::string> environment_variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): read at start only
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

void default_environment_variable(const char* name, const char* value) {
  ::setenv(name, value, 0);  // NOLINT(concurrency-mt-unsafe): at start only
}

}  // namespace wingspan
