// The only place that reads or changes the environment.
#pragma once

#include <optional>
#include <string>

namespace wingspan {

std::optional<std::string> environment_variable(const char* name);
// For libraries that take options only so. Before any thread is started; what is set stays.
void default_environment_variable(const char* name, const char* value);

}  // namespace wingspan
