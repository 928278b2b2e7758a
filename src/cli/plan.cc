#include "cli/plan.h"

#include "cli/plan_search.h"

namespace wingspan {

void add_plan_command(CLI::App& app, Command& selected) {
  auto* plan = app.add_subcommand("plan", "What a deployment delivers, what bounds it, and why");
  plan->require_subcommand(1);
  plan->footer("Example:\n  wingspan plan predict --model R1 --hardware GB200 --scenario s.json\n");
  add_plan_predict(*plan, selected);
  add_plan_explain(*plan, selected);
  add_plan_search(*plan, selected);
}

}  // namespace wingspan
