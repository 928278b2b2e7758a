// wingspan balance: from recorded loads to a placement.
#include "cli/balance.h"

#include <fmt/format.h>

#include "cli/balance_report.h"
#include "cli/balance_run.h"
#include "cli/console.h"

namespace wingspan {
namespace {

constexpr const char* kBalanceExamples = R"(Examples:
  wingspan balance --load tests/goldens/wren/loads/mixed.json --ranks 16 --redundant 16
  wingspan balance --load recorded.pt --format sglang --ranks 32 --redundant 32 \
      --output init_expert_location.json --output-format sglang
  wingspan balance --load load.json --ranks 32 --current running.json --move-budget 64 --json
)";

Status check_options(const BalanceOptions& o) {
  const auto positive = [](double value, const char* flag) -> Status {
    if (value > 0 && value <= 1e18) return {};
    return invalid_input(fmt::format("{} is not a positive number", value), flag);
  };
  WS_RETURN_IF_ERROR(positive(o.price.link_gb_s, "--link-gb-s"));
  WS_RETURN_IF_ERROR(positive(o.price.step_tokens, "--step-tokens"));
  WS_RETURN_IF_ERROR(positive(o.price.horizon_steps, "--horizon-steps"));
  WS_RETURN_IF_ERROR(positive(o.price.rank_tflops, "--rank-tflops"));
  if (o.top_k) WS_RETURN_IF_ERROR(positive(*o.top_k, "--top-k"));
  if (o.expert_bytes && *o.expert_bytes > (int64_t{1} << 40)) {
    return invalid_input("more than 2^40 bytes", "--expert-bytes");
  }
  return {};
}

Status balance(const BalanceOptions& o) {
  WS_RETURN_IF_ERROR(check_options(o));
  WS_ASSIGN(const BalanceResult result, run_balance(o));
  const auto output_format = eplb_format_from_name(o.output_format);
  std::string file = balance_json(result);
  if (output_format != EplbFormat::kWingspan) {
    WS_ASSIGN(file, placement_for_engine(result.placement, *output_format));
  }
  // Everything is made before anything is written.
  const std::string page = o.html.empty() ? "" : balance_html(result);
  if (!o.output.empty()) WS_RETURN_IF_ERROR(real_files().write_text(o.output, file));
  if (!o.html.empty()) WS_RETURN_IF_ERROR(real_files().write_text(o.html, page));
  if (o.json) return print_out(balance_json(result));
  if (!o.output.empty())
    return print_out(fmt::format("{}\nwritten to {}\n", result.reason, o.output));
  return print_out(balance_text(result));
}

void add_plan_options(CLI::App& c, BalanceOptions& o) {
  c.add_option("--load", o.load, "recorded loads: a file, or a directory of dumps");
  c.add_option("--format", o.format,
               "auto (by content), sglang, tensorrt-llm, vllm, ascend, adrs, json");
  c.add_option("--ranks", o.ranks, "ranks of the expert-parallel group");
  auto* slots = c.add_option("--slots", o.slots, "slots over all ranks");
  auto* redundant = c.add_option("--redundant", o.redundant, "slots beyond one an expert")
                        ->check(CLI::NonNegativeNumber);
  auto* sizes = c.add_option("--rank-slots", o.rank_slots, "slots of each rank: 8,8,4");
  slots->excludes(redundant);
  redundant->excludes(sizes);
  c.add_option("--nodes", o.nodes, "nodes; with --groups, groups are kept on nodes");
  c.add_option("--groups", o.groups, "groups of experts");
  c.add_option("--objective", o.objective,
               "tokens (prefill), or activated: experts that a rank must read in a step (decode)")
      ->check(CLI::IsMember({"tokens", "activated"}));
  c.add_option("--windows", o.windows, "several windows: plan for their sum, or robust: for all")
      ->check(CLI::IsMember({"sum", "robust"}));
}

void add_change_options(CLI::App& c, BalanceOptions& o) {
  c.add_option("--current", o.current, "the running placement, in any format");
  c.add_option("--move-budget", o.move_budget, "slots that may change, over all layers")
      ->check(CLI::NonNegativeNumber);
  auto* bytes = c.add_option("--expert-bytes", o.expert_bytes, "weights of one expert of one layer")
                    ->check(CLI::PositiveNumber);
  c.add_option("--model", o.model, "a model directory, for the size of an expert and top-k")
      ->excludes(bytes);
  c.add_option("--link-gb-s", o.price.link_gb_s, "link of one rank, 10^9 bytes a second");
  c.add_option("--step-tokens", o.price.step_tokens, "tokens of the group in one step");
  c.add_option("--horizon-steps", o.price.horizon_steps,
               "steps for which the load is expected to last");
  c.add_option("--rank-tflops", o.price.rank_tflops,
               "10^12 operations a second that a rank reaches");
  c.add_option("--top-k", o.top_k, "experts of a token (default 8, or the model's)");
}

}  // namespace

void add_balance_command(CLI::App& app, Command& selected) {
  auto* c = app.add_subcommand("balance", "Plan where experts and their replicas live");
  auto o = std::make_shared<BalanceOptions>();
  c->footer(kBalanceExamples);
  add_plan_options(*c, *o);
  add_change_options(*c, *o);
  c->add_option("--output", o->output, "write the placement there");
  c->add_option("--output-format", o->output_format, "wingspan, sglang, tensorrt-llm, vllm, ascend")
      ->check(CLI::IsMember({"wingspan", "sglang", "tensorrt-llm", "vllm", "ascend"}));
  c->add_option("--html", o->html, "write a page with the loads by rank, before and after");
  c->add_flag("--json", o->json, "print the placement object");
  c->require_subcommand(0, 1);
  add_replay_command(*c, selected);
  c->callback([c, o, &selected] {
    if (!c->get_subcommands().empty()) return;
    for (const char* needed : {"--load", "--ranks"}) {
      if (c->count(needed) == 0) throw CLI::RequiredError(needed);
    }
    selected = [o] { return balance(*o); };
  });
}

}  // namespace wingspan
