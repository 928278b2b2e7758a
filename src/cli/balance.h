// wingspan balance and wingspan balance replay.
#pragma once

#include "cli/commands.h"

namespace wingspan {

void add_replay_command(CLI::App& balance, Command& selected);

}  // namespace wingspan
