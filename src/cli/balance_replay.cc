// wingspan balance replay: keep, re-solve or change a little, on a recorded series.
#include <fmt/format.h>

#include <sstream>

#include "cli/balance.h"
#include "cli/balance_report.h"
#include "cli/balance_run.h"
#include "cli/console.h"
#include "cli/html.h"
#include "eplb/replay.h"

namespace wingspan {
namespace {

struct ReplayOptions {
  BalanceOptions plan;
  std::string trace, policies = "keep,resolve,incremental";
};

struct Run {
  std::string name;
  ReplayResult result;
};

constexpr const char* kBalanceReplayExamples = R"(Example:
  wingspan balance replay --trace trace.json --ranks 32 --slots 288 --html replay.html
)";

Expected<Policy> policy_of(const std::string& name) {
  if (name == "keep") return Policy::kKeep;
  if (name == "resolve") return Policy::kResolve;
  if (name == "relabel") return Policy::kRelabel;
  if (name == "incremental") return Policy::kIncremental;
  return invalid_input(fmt::format("\"{}\" is no policy", name), "--policy",
                       "use keep, resolve, relabel or incremental, separated by commas");
}

Expected<std::vector<Run>> run_policies(const ReplayOptions& o, const Topology& topology,
                                        const std::vector<LoadMatrix>& windows) {
  std::vector<Run> out;
  std::istringstream in(o.policies);
  for (std::string name; std::getline(in, name, ',');) {
    WS_ASSIGN(const Policy policy, policy_of(name));
    out.push_back({name, replay(topology, windows, policy)});
  }
  if (out.empty()) return invalid_input("no policy is named", "--policy");
  return out;
}

Table table_of(const std::vector<Run>& runs, const Topology& t, size_t layers) {
  Table table({"policy", "balancedness", "worst window", "slots moved", "of all, per window"});
  for (const Run& run : runs) {
    const auto& b = run.result.balancedness;
    const double slots = static_cast<double>(t.slots()) * static_cast<double>(layers);
    const auto changes = static_cast<double>(std::max<size_t>(1, b.size() - 1));
    table.add(
        {run.name, fmt::format("{:.4f}", run.result.mean_balancedness),
         fmt::format("{:.4f}", *std::min_element(b.begin(), b.end())),
         with_commas(run.result.moves),
         fmt::format("{:.2f} %", 100 * static_cast<double>(run.result.moves) / changes / slots)});
  }
  return table;
}

std::string page_of(const std::vector<Run>& runs, const Table& table) {
  Curves balance, moves;
  balance.x_name = moves.x_name = "window";
  for (const Run& run : runs) {
    balance.names.push_back(run.name);
    balance.values.push_back(run.result.balancedness);
    moves.names.push_back(run.name);
    moves.values.emplace_back(run.result.moved_slots.begin(), run.result.moved_slots.end());
    for (const double m : moves.values.back()) moves.high = std::max(moves.high, m);
  }
  return html_page("Balancing policies on a recorded trace",
                   "<p>Planned on the windows up to t, judged on window t + 1.</p>" +
                       html_table(table) + "<h2>Balancedness</h2>" + html_curves(balance) +
                       "<h2>Slots moved</h2>" + html_curves(moves));
}

OrderedJson json_of(const std::vector<Run>& runs, const Topology& t) {
  OrderedJson doc = {{"experts", t.experts}, {"ranks", t.ranks()}, {"slots", t.slots()}};
  doc["policies"] = OrderedJson::array();
  for (const Run& run : runs) {
    doc["policies"].push_back({{"policy", run.name},
                               {"balancedness", run.result.mean_balancedness},
                               {"moved_slots", run.result.moves},
                               {"balancedness_by_window", run.result.balancedness},
                               {"moved_slots_by_window", run.result.moved_slots}});
  }
  return doc;
}

Status replay_command(const ReplayOptions& o) {
  WS_ASSIGN(const RecordedLoad trace, read_recorded_load(real_files(), o.trace, EplbFormat::kAuto));
  if (trace.windows.size() < 2) {
    return invalid_input("the trace has one window; a replay needs two", o.trace,
                         "give a file with several windows or steps");
  }
  WS_ASSIGN(const Topology topology, balance_topology(o.plan, trace.experts, std::nullopt));
  std::vector<LoadMatrix> windows;
  for (const RecordedWindow& window : trace.windows) windows.push_back(window.counts.rows());
  WS_ASSIGN(const auto runs, run_policies(o, topology, windows));
  const Table table = table_of(runs, topology, trace.layers.size());
  if (!o.plan.html.empty()) {
    WS_RETURN_IF_ERROR(real_files().write_text(o.plan.html, page_of(runs, table)));
  }
  if (o.plan.json) return print_json(json_of(runs, topology));
  return print_out(fmt::format("{} windows of {} layers; planned on the windows up to t, judged on "
                               "t + 1\n\n",
                               trace.windows.size(), trace.layers.size()) +
                   table.text());
}

}  // namespace

void add_replay_command(CLI::App& balance, Command& selected) {
  auto* c = balance.add_subcommand("replay", "Compare policies on a recorded series of loads");
  auto o = std::make_shared<ReplayOptions>();
  c->footer(kBalanceReplayExamples);
  c->add_option("--trace", o->trace, "loads in windows or steps, any format")->required();
  c->add_option("--ranks", o->plan.ranks, "ranks of the expert-parallel group")->required();
  auto* slots = c->add_option("--slots", o->plan.slots, "slots over all ranks");
  c->add_option("--redundant", o->plan.redundant, "slots beyond one an expert")
      ->check(CLI::NonNegativeNumber)
      ->excludes(slots);
  c->add_option("--policy", o->policies,
                "keep, resolve, relabel, incremental, separated by commas");
  c->add_option("--html", o->plan.html, "write a page with the curves");
  c->add_flag("--json", o->plan.json, "print one JSON document");
  c->callback([o, &selected] { selected = [o] { return replay_command(*o); }; });
}

}  // namespace wingspan
