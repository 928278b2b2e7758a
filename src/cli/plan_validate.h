// wingspan plan predict --validate: the planner against published measurements.
#pragma once

#include <string>

#include "base/status.h"

namespace wingspan {

struct ValidateOptions {
  std::string constants;
  std::string html;  // file of the page with the scatter plot; "": none
  bool json = false, markdown = false;
};

Status validate_command(const ValidateOptions& options);

}  // namespace wingspan
