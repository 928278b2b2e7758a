// The only place that reads the environment.
#pragma once

#include <optional>
#include <string>

namespace wingspan {

std::optional<std::string> environment_variable(const char* name);

}  // namespace wingspan
