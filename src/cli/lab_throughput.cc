// wingspan lab throughput: dense, standard EP, Wide-EP and Wide-EP with EPLB, measured on this
// machine and predicted for a rack.
#include <fmt/format.h>

#include <algorithm>

#include "cli/console.h"
#include "cli/html.h"
#include "cli/lab.h"
#include "cli/plan_inputs.h"
#include "cli/table.h"
#include "cli/width_run.h"
#include "plan/serving_styles.h"

namespace wingspan {
namespace {

struct ThroughputOptions {
  ModelOptions model;
  int standard = 8, wide = 32, redundant = 1;
  int64_t batch = 4;
  std::string rack_model = "R1", hardware = "GB200", dtype = "auto", html;
  double isl = 4096, osl = 1024, itl_ms = 25;
  bool measure = true, json = false;
};

constexpr const char* kLabThroughputExamples = R"(Examples:
  wingspan lab throughput --model models/wren
  wingspan lab throughput --model models/wren --wide 64 --hardware H200 --itl-ms 40 --html t.html
)";

constexpr int64_t kThroughputPrompt = 8, kThroughputNew = 17;

// What this machine did: all ranks share its cores.
struct Measured {
  int ranks = 0;
  double step_ms = 0, tokens_per_s = 0;
  double tokens_per_weight_load = 0;  // tokens of an expert that got any, mean over steps
  double balancedness = 1;
};

struct StyleRow {
  ServingStyle style;
  std::optional<Measured> here;
  std::optional<Prediction> rack;  // none: the ITL can't be held
};

Expected<Measured> measure(const SessionSetup& setup, const std::shared_ptr<const ModelHost>& host,
                           int64_t batch, Load* load = nullptr) {
  const auto requests = random_requests(setup.config, static_cast<int>(batch) * setup.ranks,
                                        kThroughputPrompt, kThroughputNew, setup.options.seed + 7);
  WS_ASSIGN(WidthRun run, run_placed(setup, host, requests, 1));
  Measured out;
  out.ranks = setup.ranks;
  out.step_ms = run.decode_step_ms();
  out.tokens_per_s = static_cast<double>(batch) * setup.ranks / out.step_ms * 1e3;
  // The first steps are the prompts'; decode steps are what is compared.
  const std::span<const LoadWindow> windows(run.load.windows);
  const auto prompts = static_cast<size_t>(std::max<int64_t>(0, run.prefill.steps));
  out.tokens_per_weight_load =
      tokens_per_active_expert(windows.subspan(std::min(prompts, windows.size())));
  out.balancedness = run.balance.balancedness;
  if (load != nullptr) *load = std::move(run.load);
  return out;
}

// The model with every expert chosen for every token: what a dense model of its size computes.
SessionSetup dense_setup(const SessionSetup& base, int ranks) {
  SessionSetup out = width_setup(base, ranks);
  RouterSpec& router = out.config.moe.router;
  router.top_k = router.experts;
  router.top_groups = router.groups;
  router.per_group = 0;
  return out;
}

Status measure_styles(const ThroughputOptions& o, std::vector<StyleRow>& rows) {
  WS_ASSIGN(const SessionSetup base, prepare_session(o.model));
  if (base.mpi) {
    return invalid_input("ranks are threads here", "--transport", "run it without mpirun");
  }
  if (base.config.moe_layers().empty()) {
    return invalid_input("the model has no experts", o.model.model);
  }
  const SessionSetup dense = dense_setup(base, o.standard);
  WS_ASSIGN(const auto dense_host, load_session(dense, {}));
  WS_ASSIGN(rows[0].here, measure(dense, dense_host, o.batch));
  WS_ASSIGN(const auto host, load_session(base, {}));
  WS_ASSIGN(rows[1].here, measure(width_setup(base, o.standard), host, o.batch));
  Load load;
  SessionSetup wide = width_setup(base, o.wide);
  WS_ASSIGN(rows[2].here, measure(wide, host, o.batch, &load));
  WS_ASSIGN(wide.placement, placement_for(load, o.wide, o.redundant * o.wide));
  WS_ASSIGN(rows[3].here, measure(wide, host, o.batch));
  return {};
}

Status predict_styles(const ThroughputOptions& o, std::vector<StyleRow>& rows) {
  WS_ASSIGN(const PlanModel model, plan_model(o.rack_model));
  if (model.experts <= 0) return invalid_input("the model has no experts", o.rack_model);
  WS_ASSIGN(const PlanGpu gpu, plan_gpu(o.hardware));
  WS_ASSIGN(const PlanConstants constants, plan_constants(""));
  PlanScenario base;
  base.isl = o.isl;
  base.osl = o.osl;
  WS_RETURN_IF_ERROR(use_dtypes(o.dtype, model, gpu, base));
  const StyleWidths widths{static_cast<double>(o.standard), static_cast<double>(o.wide),
                           static_cast<double>(o.redundant * o.wide)};
  for (ServingStyle& style : serving_styles(model, base, widths)) {
    WS_ASSIGN(const auto rack, largest_within(style, gpu, constants, o.itl_ms));
    rows.push_back({std::move(style), {}, rack});
  }
  return {};
}

OrderedJson json_of(const ThroughputOptions& o, const std::vector<StyleRow>& rows) {
  OrderedJson doc = {{"model", o.model.model},
                     {"batch_per_rank", o.batch},
                     {"rack_model", o.rack_model},
                     {"hardware", o.hardware},
                     {"isl", o.isl},
                     {"osl", o.osl},
                     {"itl_ms", o.itl_ms}};
  doc["rows"] = OrderedJson::array();
  for (const StyleRow& r : rows) {
    OrderedJson row = {{"style", r.style.name}, {"means", r.style.means}};
    row["measured"] = nullptr;
    if (r.here) {
      row["measured"] = {{"ranks", r.here->ranks},
                         {"step_ms", r.here->step_ms},
                         {"tokens_per_s", r.here->tokens_per_s},
                         {"tokens_per_weight_load", r.here->tokens_per_weight_load},
                         {"balancedness", r.here->balancedness}};
    }
    row["predicted"] = nullptr;
    if (r.rack) {
      row["predicted"] = {{"gpus", r.style.scenario.gpus},
                          {"batch_per_gpu", r.rack->batch_per_gpu},
                          {"itl_ms", r.rack->itl_ms},
                          {"tokens_per_s_per_gpu", r.rack->tokens_per_s_per_gpu},
                          {"interval_low", r.rack->interval_low},
                          {"interval_high", r.rack->interval_high},
                          {"bound", name_of(r.rack->step.bound)}};
    }
    doc["rows"].push_back(row);
  }
  return doc;
}

Table measured_table(const std::vector<StyleRow>& rows) {
  Table table(
      {"measured here", "ranks", "step", "tokens/s", "tokens per weight load", "balancedness"});
  for (const StyleRow& r : rows) {
    if (!r.here) continue;
    table.add({r.style.name, std::to_string(r.here->ranks),
               fmt::format("{:.2f} ms", r.here->step_ms),
               fmt::format("{:.0f}", r.here->tokens_per_s),
               fmt::format("{:.1f}", r.here->tokens_per_weight_load),
               fmt::format("{:.2f}", r.here->balancedness)});
  }
  return table;
}

Table predicted_table(const std::vector<StyleRow>& rows) {
  Table table(
      {"predicted", "GPUs", "sequences/GPU", "ITL", "tokens/s/GPU", "80 % interval", "bound by"});
  for (const StyleRow& r : rows) {
    const std::string gpus = fmt::format("{:g}", r.style.scenario.gpus);
    if (!r.rack) {
      table.add({r.style.name, gpus, "none in time", "-", "-", "-", "-"});
      continue;
    }
    table.add({r.style.name, gpus, fmt::format("{:g}", r.rack->batch_per_gpu),
               fmt::format("{:.1f} ms", r.rack->itl_ms),
               with_commas(static_cast<long long>(r.rack->tokens_per_s_per_gpu)),
               fmt::format("{} - {}", with_commas(static_cast<long long>(r.rack->interval_low)),
                           with_commas(static_cast<long long>(r.rack->interval_high))),
               name_of(r.rack->step.bound)});
  }
  return table;
}

std::string measured_words(const ThroughputOptions& o) {
  return fmt::format(
      "Measured on this machine: {}, {} tokens a rank and step; all ranks share its cores, so a "
      "wider group also has more users. Dense: every expert for every token.",
      o.model.model, o.batch);
}

std::string predicted_words(const ThroughputOptions& o) {
  return fmt::format(
      "Predicted for a rack: {} on {}, decode of {:g} + {:g} tokens, as many sequences as {:g} ms "
      "a "
      "token leave room for. Dense: one MLP as large as all experts, split over {} GPUs.",
      o.rack_model, o.hardware, o.isl, o.osl, o.itl_ms, o.standard);
}

std::string html_of(const ThroughputOptions& o, const std::vector<StyleRow>& rows) {
  Bars here, rack;
  for (const StyleRow& r : rows) {
    if (r.here) {
      here.labels.push_back(r.style.name);
      here.values.push_back(r.here->tokens_per_s);
      here.texts.push_back(fmt::format("{:.0f} tokens/s, measured", r.here->tokens_per_s));
    }
    rack.labels.push_back(r.style.name);
    rack.values.push_back(r.rack ? r.rack->tokens_per_s_per_gpu : 0);
    rack.texts.push_back(
        r.rack ? fmt::format("{} tokens/s/GPU, predicted",
                             with_commas(static_cast<long long>(r.rack->tokens_per_s_per_gpu)))
               : "not in time, predicted");
  }
  std::string body;
  if (!here.labels.empty()) {
    body += "<h2>Measured on this machine</h2>\n<p>" + escape_html(measured_words(o)) + "</p>\n" +
            html_bars(here) + html_table(measured_table(rows));
  }
  body += "<h2>Predicted for a rack</h2>\n<p>" + escape_html(predicted_words(o)) + "</p>\n" +
          html_bars(rack) + html_table(predicted_table(rows)) + "<ul>\n";
  for (const StyleRow& r : rows) {
    body += "<li>" + escape_html(r.style.name + ": " + r.style.means) + "</li>\n";
  }
  return html_page("Four ways to serve a model of experts", body + "</ul>\n");
}

Status throughput(const ThroughputOptions& o) {
  quiet_notes();
  if (o.wide <= o.standard) {
    return invalid_input(fmt::format("{} is not wider than --standard {}", o.wide, o.standard),
                         "--wide");
  }
  if (o.measure && o.model.model.empty()) {
    return invalid_input("which model to measure?", "--model",
                         "give a directory, or --no-measure for the prediction alone");
  }
  std::vector<StyleRow> rows;
  WS_RETURN_IF_ERROR(predict_styles(o, rows));
  if (o.measure) WS_RETURN_IF_ERROR(measure_styles(o, rows));
  if (!o.html.empty()) {
    WS_RETURN_IF_ERROR(real_files().write_text(o.html, html_of(o, rows)));
  }
  if (o.json) return print_json(json_of(o, rows));
  std::string text;
  if (o.measure) text += measured_words(o) + "\n\n" + measured_table(rows).text() + "\n";
  text += predicted_words(o) + "\n\n" + predicted_table(rows).text() + "\n";
  for (const StyleRow& r : rows) text += r.style.name + ": " + r.style.means + "\n";
  WS_RETURN_IF_ERROR(print_out(text));
  return flush_out();
}

}  // namespace

void add_lab_throughput(CLI::App& lab, Command& selected) {
  auto* c = lab.add_subcommand("throughput",
                               "Dense, standard EP, Wide-EP, Wide-EP + EPLB: measured here and "
                               "predicted for a rack");
  auto options = std::make_shared<ThroughputOptions>();
  ThroughputOptions& o = *options;
  add_model_options(*c, o.model, false, false);
  c->add_option("--standard", o.standard, "width of standard EP")
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  c->add_option("--wide", o.wide, "width of Wide-EP")
      ->check(CLI::Range(2, kMaxRanks))
      ->capture_default_str();
  c->add_option("--redundant-per-rank", o.redundant, "replica slots of each rank with EPLB")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  c->add_option("--batch-per-rank", o.batch, "measured: tokens of each rank in a decode step")
      ->check(CLI::Range(int64_t{1}, int64_t{64}))
      ->capture_default_str();
  c->add_flag("--measure,!--no-measure", o.measure, "run real steps (default) or only predict");
  c->add_option("--rack-model", o.rack_model, "predicted: model")->capture_default_str();
  c->add_option("--hardware", o.hardware, "predicted: hardware")->capture_default_str();
  c->add_option("--dtype", o.dtype, "predicted: auto, fp4, fp8 or bf16")
      ->check(CLI::IsMember({"auto", "fp4", "fp8", "bf16"}))
      ->capture_default_str();
  c->add_option("--isl", o.isl, "predicted: prompt tokens")
      ->check(CLI::Range(1.0, 1e7))
      ->capture_default_str();
  c->add_option("--osl", o.osl, "predicted: output tokens")
      ->check(CLI::Range(1.0, 1e7))
      ->capture_default_str();
  c->add_option("--itl-ms", o.itl_ms, "predicted: most milliseconds between two tokens of a user")
      ->check(CLI::Range(1e-3, 1e6))
      ->capture_default_str();
  c->add_option("--html", o.html, "write a self-contained page");
  c->add_flag("--json", o.json, "one JSON document on stdout");
  c->footer(kLabThroughputExamples);
  c->callback([options, &selected] { selected = [options] { return throughput(*options); }; });
}

}  // namespace wingspan
