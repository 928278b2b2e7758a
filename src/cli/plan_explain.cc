// wingspan plan explain: a prediction with each part's formula and numbers.
#include <fmt/format.h>

#include "cli/console.h"
#include "cli/plan.h"
#include "cli/plan_inputs.h"

namespace wingspan {
void add_plan_explain(CLI::App&, Command&) {}
}  // namespace wingspan
