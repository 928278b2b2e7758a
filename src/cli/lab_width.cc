// wingspan lab width: what the EP width does to experts per rank, tokens per expert and bytes read.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/console.h"
#include "cli/html.h"
#include "cli/lab.h"
#include "cli/lists.h"
#include "cli/table.h"
#include "cli/width_run.h"
#include "model/memory.h"

namespace wingspan {
namespace {

struct WidthOptions {
  ModelOptions model;
  std::string widths = "8,16,32,64", html;
  int64_t batch = 1;
  bool measure = true, json = false;
};

constexpr const char* kLabWidthExamples = R"(Examples:
  wingspan lab width --model models/wren
  wingspan lab width --model models/wren --ep 8,64 --batch-per-rank 4 --html width.html
)";

struct Row {
  int ranks = 0;
  double experts_per_rank = 0;   // of a layer
  double tokens_per_expert = 0;  // of a layer and step, if routing were even
  double active_experts = 0;     // of a rank's, expected to get a token in a step
  double bytes_read = 0;         // expert weights of a rank and step, all layers, expected
  double bytes_per_token = 0;    // the same over the rank's own batch
  std::optional<double> step_ms, measured_tokens_per_expert, group_gemm_share;
};

// With even routing an expert stays idle with probability (1 − k/E)^(tokens of the group).
Row compute_row(const SessionSetup& s, int ranks, int64_t batch) {
  const RouterSpec& r = s.config.moe.router;
  const double experts = r.experts, tokens = static_cast<double>(batch) * ranks;
  Row row;
  row.ranks = ranks;
  row.experts_per_rank = experts / ranks;
  row.tokens_per_expert = tokens * r.top_k / experts;
  const double idle = std::pow(1 - r.top_k / experts, tokens);
  row.active_experts = row.experts_per_rank * (1 - idle);
  row.bytes_read = row.active_experts * static_cast<double>(s.config.moe_layers().size()) *
                   static_cast<double>(expert_bytes(s.config, s.compute, s.checkpoint_dtype));
  row.bytes_per_token = row.bytes_read / static_cast<double>(batch);
  return row;
}

Status measure_row(const SessionSetup& s, const std::shared_ptr<const ModelHost>& host,
                   int64_t batch, Row& row) {
  const auto requests = random_requests(s.config, static_cast<int>(batch) * row.ranks, 8, 9, 7);
  WS_ASSIGN(WidthRun run, run_width(s, host, row.ranks, requests));
  row.step_ms = run.decode_step_ms();
  row.group_gemm_share = static_cast<double>(run.decode.group_gemm_ns) /
                         static_cast<double>(std::max<int64_t>(1, run.decode.total_ns));
  // The run is one window.
  const auto steps = std::max<int64_t>(1, run.decode.steps) + run.prefill.steps;
  row.measured_tokens_per_expert =
      tokens_per_active_expert(run.load.windows) / static_cast<double>(steps);
  return {};
}

OrderedJson json_of(const WidthOptions& o, const SessionSetup& s, const std::vector<Row>& rows) {
  OrderedJson doc;
  doc["model"] = s.config.name;
  doc["batch_per_rank"] = o.batch;
  doc["rows"] = OrderedJson::array();
  for (const Row& r : rows) {
    OrderedJson row = {{"ep", r.ranks},
                       {"experts_per_rank", r.experts_per_rank},
                       {"tokens_per_expert", r.tokens_per_expert},
                       {"active_experts_per_rank", r.active_experts},
                       {"expert_bytes_read_per_rank", r.bytes_read},
                       {"expert_bytes_per_token", r.bytes_per_token}};
    row["measured_step_ms"] = r.step_ms ? OrderedJson(*r.step_ms) : OrderedJson(nullptr);
    row["measured_group_gemm_share"] =
        r.group_gemm_share ? OrderedJson(*r.group_gemm_share) : OrderedJson(nullptr);
    doc["rows"].push_back(row);
  }
  return doc;
}

Table table_of(const WidthOptions& o, const std::vector<Row>& rows) {
  std::vector<std::string> head = {"EP",
                                   "experts/rank",
                                   "tokens/expert",
                                   "active experts/rank",
                                   "expert bytes read/rank",
                                   "bytes read/token"};
  if (o.measure) {
    head.push_back("step (measured)");
    head.push_back("GroupGEMM (measured)");
  }
  Table table(head);
  for (const Row& r : rows) {
    std::vector<std::string> row = {std::to_string(r.ranks),
                                    fmt::format("{:g}", r.experts_per_rank),
                                    fmt::format("{:.3g}", r.tokens_per_expert),
                                    fmt::format("{:.3g}", r.active_experts),
                                    human_bytes(r.bytes_read),
                                    human_bytes(r.bytes_per_token)};
    if (o.measure) {
      row.push_back(fmt::format("{:.2f} ms", r.step_ms.value_or(0)));
      row.push_back(fmt::format("{:.0f} %", 100 * r.group_gemm_share.value_or(0)));
    }
    table.add(row);
  }
  return table;
}

std::string html_of(const WidthOptions& o, const SessionSetup& s, const std::vector<Row>& rows) {
  Bars bars;
  for (const Row& r : rows) {
    bars.labels.push_back(fmt::format("EP{}", r.ranks));
    bars.values.push_back(r.bytes_per_token);
    bars.texts.push_back(human_bytes(r.bytes_per_token) + " per token");
  }
  return html_page(
      "EP width of " + s.config.name,
      fmt::format(
          "<p>Expert weights that a rank must read for each of its own tokens in one step, with "
          "{} tokens per rank (computed; even routing assumed). A wider group brings more tokens "
          "to each expert, so each weight load serves more of them.</p>\n",
          o.batch) +
          html_bars(bars) + "<h2>Numbers</h2>\n" + html_table(table_of(o, rows)));
}

Status width(const WidthOptions& o) {
  quiet_notes();
  WS_ASSIGN(auto widths, parse_numbers(o.widths, "--ep", 1, kMaxRanks));
  ModelOptions model = o.model;
  WS_ASSIGN(SessionSetup s, prepare_session(model));
  if (s.config.moe_layers().empty()) return invalid_input("the model has no experts", model.model);
  std::shared_ptr<const ModelHost> host;
  if (o.measure) {
    WS_ASSIGN(host, load_session(s, {}));
  }
  std::vector<Row> rows;
  for (const int64_t ranks : widths) {
    rows.push_back(compute_row(s, static_cast<int>(ranks), o.batch));
    if (o.measure) WS_RETURN_IF_ERROR(measure_row(s, host, o.batch, rows.back()));
  }
  if (!o.html.empty()) {
    WS_RETURN_IF_ERROR(real_files().write_text(o.html, html_of(o, s, rows)));
  }
  if (o.json) return print_json(json_of(o, s, rows));
  WS_RETURN_IF_ERROR(print_out(fmt::format(
      "{}: {} experts, top-{}, {} tokens per rank and step. Computed for even routing{}.\n\n{}",
      s.config.name, s.config.moe.router.experts, s.config.moe.router.top_k, o.batch,
      o.measure ? "; the last columns are measured here, all ranks sharing this machine" : "",
      table_of(o, rows).text())));
  return flush_out();
}

}  // namespace

void add_lab_width(CLI::App& lab, Command& selected) {
  auto* command =
      lab.add_subcommand("width", "Experts per rank, tokens per expert and bytes by EP width");
  auto options = std::make_shared<WidthOptions>();
  WidthOptions& o = *options;
  add_model_options(*command, o.model, false);
  command->add_option("--ep", o.widths, "EP widths")->capture_default_str();
  command->add_option("--batch-per-rank", o.batch, "tokens of each rank in a decode step")
      ->check(CLI::Range(int64_t{1}, int64_t{256}))
      ->capture_default_str();
  command->add_flag("--measure,!--no-measure", o.measure,
                    "run real steps (default) or only compute");
  command->add_option("--html", o.html, "write a self-contained page");
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kLabWidthExamples);
  command->callback([options, &selected] { selected = [options] { return width(*options); }; });
}

}  // namespace wingspan
