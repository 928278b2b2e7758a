#include "cli/app.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "base/env.h"
#include "base/refused.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/version.h"
#include "comm/mpi.h"

namespace wingspan {
namespace {

constexpr const char* kAppExamples = R"(Examples:
  wingspan generate --model models/wren --prompt "To be or not to be" --ep 8
  wingspan inspect models/wren --ep 8,32,64
  wingspan verify --model models/wren
Run a command with --help for its own options and examples.
)";

// As a shell counts a program that SIGPIPE ended.
constexpr int kReaderGone = 128 + 13;

int report(const Error& error) {
  if (reader_is_gone()) return kReaderGone;
  std::string line = error.message();
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  // Bad input is the same on every process of an MPI run: one of them says so.
  const bool said_elsewhere = error.kind == ErrorKind::kInvalidInput && mpi_launch().rank > 0;
  if (!said_elsewhere) std::fprintf(stderr, "wingspan: error: %s\n", line.c_str());
  std::fflush(stderr);
  return error.exit_code();
}

std::string command_path(const CLI::App& app) {
  std::string path = "wingspan";
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  return path;
}

bool is_command(const CLI::App& app, const std::string& name) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  return std::any_of(commands.begin(), commands.end(),
                     [&](const CLI::App* c) { return c->get_name() == name; });
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const std::string path = command_path(app);
  return report({ErrorKind::kInvalidInput, error.what(), path, "see " + path + " --help"});
}

int run_selected(const Command& selected) {
  try {
    Status status = selected();
    if (status) status = flush_out();
    const int code = status ? 0 : report(status.error());
    shut_down_mpi(!status, code);
    return code;
  } catch (const std::exception&) {
    const int code = report(error_of_exception());
    shut_down_mpi(true, code);
    return code;
  }
}

}  // namespace

int run_app(int argc, const char* const* argv) {
  // A reader that goes away is a failed write, not a signal.
  std::signal(SIGPIPE, SIG_IGN);
  // Where /sys is not mounted hwloc would write lines of its own to stderr; we do without pinning.
  default_environment_variable("HWLOC_HIDE_ERRORS", "2");
  CLI::App app("Wide expert-parallel inference for Mixture-of-Experts models", "wingspan");
  app.set_version_flag("--version", [] { return version_text(); });
  app.require_subcommand(1);
  app.footer(kAppExamples);
  Command selected;
  add_generate_command(app, selected);
  add_score_command(app, selected);
  add_verify_command(app, selected);
  add_inspect_command(app, selected);
  add_balance_command(app, selected);
  add_plan_command(app, selected);
  add_lab_command(app, selected);
  add_bench_command(app, selected);
  add_serve_command(app, selected);
  add_replay_receipt_command(app, selected);
  add_demo_command(app, selected);
  if (argc > 1 && argv[1][0] != '-' && !is_command(app, argv[1])) {
    return report({ErrorKind::kInvalidInput, fmt::format("unknown command \"{}\"", argv[1]), "",
                   "see wingspan --help"});
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    app.exit(done);  // --help, --version
    const Status status = flush_out();
    return status ? 0 : report(status.error());
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
  return run_selected(selected);
}

}  // namespace wingspan
