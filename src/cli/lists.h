// Comma-separated numbers of command-line options.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace wingspan {

// "2,4,8" -> numbers in [low, high]. The error names `flag` and what is wrong.
Expected<std::vector<int64_t>> parse_numbers(const std::string& text, const std::string& flag,
                                             int64_t low, int64_t high);

}  // namespace wingspan
