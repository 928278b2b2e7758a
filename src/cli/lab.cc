#include "cli/lab.h"

namespace wingspan {

void add_lab_command(CLI::App& app, Command& selected) {
  auto* lab = app.add_subcommand("lab", "Exercises by which one learns wide expert parallelism");
  lab->require_subcommand(1);
  lab->footer("Example:\n  wingspan lab width --model models/wren --ep 8,16,32,64\n");
  add_lab_route(*lab, selected);
  add_lab_eplb(*lab, selected);
  add_lab_width(*lab, selected);
  add_lab_throughput(*lab, selected);
}

}  // namespace wingspan
