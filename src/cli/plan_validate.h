// wingspan plan predict --validate: the planner against published measurements.
#pragma once

#include <string>

#include "base/status.h"

namespace wingspan {

struct ValidateOptions {
  std::string constants;
  bool json = false;
};

Status validate_command(const ValidateOptions& options);

}  // namespace wingspan
