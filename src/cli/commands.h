// The subcommands. Each add_*_command registers one with CLI11; when the user chose it, its
// callback stores in `selected` what is to be run. main runs that and turns its Status into the
// exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "base/status.h"

namespace wingspan {

using Command = std::function<Status()>;

void add_generate_command(CLI::App& app, Command& selected);
void add_score_command(CLI::App& app, Command& selected);
void add_verify_command(CLI::App& app, Command& selected);
void add_inspect_command(CLI::App& app, Command& selected);
void add_balance_command(CLI::App& app, Command& selected);
void add_plan_command(CLI::App& app, Command& selected);
void add_lab_command(CLI::App& app, Command& selected);
void add_bench_command(CLI::App& app, Command& selected);
void add_serve_command(CLI::App& app, Command& selected);
void add_replay_receipt_command(CLI::App& app, Command& selected);
void add_demo_command(CLI::App& app, Command& selected);

}  // namespace wingspan
