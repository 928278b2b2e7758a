// The exercises of `wingspan lab`.
#pragma once

#include "cli/commands.h"

namespace wingspan {

void add_lab_route(CLI::App& lab, Command& selected);
void add_lab_eplb(CLI::App& lab, Command& selected);
void add_lab_width(CLI::App& lab, Command& selected);
void add_lab_throughput(CLI::App& lab, Command& selected);

}  // namespace wingspan
