// wingspan plan search.
#pragma once

#include "cli/commands.h"

namespace wingspan {

void add_plan_search(CLI::App& plan, Command& selected);

}  // namespace wingspan
