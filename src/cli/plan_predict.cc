// wingspan plan predict: one scenario, or --validate: all published measurements.
#include <fmt/format.h>

#include "cli/console.h"
#include "cli/plan.h"
#include "cli/plan_calibrate.h"
#include "cli/plan_inputs.h"
#include "cli/plan_load.h"
#include "cli/plan_validate.h"

namespace wingspan {
namespace {

struct PredictOptions {
  std::string model, hardware, scenario, constants, load, html;
  CalibrateOptions calibrate;
  bool json = false, validate = false, markdown = false;
};

constexpr const char* kPlanPredictExamples = R"(Examples:
  echo '{"phase":"decode","gpus":32,"ep":32,"slots":288,"batch_per_gpu":64,"isl":4096,"osl":1024,
    "dtype":{"experts":"nvfp4","attention":"fp8","kv":"fp8","dispatch":"nvfp4","combine":"bf16"}}' |
    wingspan plan predict --model R1 --hardware GB200 --scenario -
  wingspan plan predict --model R1 --hardware GB200 --scenario s.json --calibrate records.jsonl
  wingspan plan predict --validate
)";

Status check_usage(const PredictOptions& o) {
  if (!o.validate && (o.markdown || !o.html.empty())) {
    return invalid_input("a picture or table of measurements belongs to --validate",
                         o.markdown ? "--markdown" : "--html", "give --validate too");
  }
  if (o.markdown && o.json) {
    return invalid_input("--markdown and --json exclude each other", "plan predict");
  }
  if (o.validate && !o.calibrate.records.empty()) {
    return invalid_input("measurements of many engines have no factor in common", "--calibrate",
                         "leave --validate out");
  }
  if (!o.validate && (o.model.empty() || o.hardware.empty() || o.scenario.empty())) {
    return invalid_input("--model, --hardware and --scenario are needed", "plan predict",
                         "or --validate for the record against measurements");
  }
  return {};
}

Status predict_command(const PredictOptions& o) {
  WS_RETURN_IF_ERROR(check_usage(o));
  if (o.validate) return validate_command({o.constants, o.html, o.json, o.markdown});
  WS_ASSIGN(const PlanModel model, plan_model(o.model));
  WS_ASSIGN(const PlanGpu gpu, plan_gpu(o.hardware));
  WS_ASSIGN(const PlanConstants constants, plan_constants(o.constants));
  WS_ASSIGN(ScenarioInput input, plan_scenario(o.scenario, model));
  PlanScenario& s = input.scenario;
  WS_RETURN_IF_ERROR(use_recorded_load(o.load, model, s, input.assumptions));
  WS_ASSIGN(const auto calibration, read_calibration(o.calibrate, model, gpu, constants, s));
  if (calibration) {
    WS_RETURN_IF_ERROR(use_calibration(*calibration, o.calibrate.records, s, &input.assumptions));
  }
  WS_ASSIGN(const Prediction p, predict(model, gpu, s, constants));
  add_assumptions(model, gpu, s, constants, p, &input.assumptions);
  if (o.json) {
    OrderedJson document = json_of_prediction(s, p, input.assumptions);
    if (calibration) document["calibration"] = calibration_json(*calibration);
    return print_json(document);
  }
  std::string text = prediction_text(model, gpu, s, p, input.assumptions);
  if (calibration) text += "\n" + calibration_text(*calibration);
  WS_RETURN_IF_ERROR(print_out(text));
  return flush_out();
}

}  // namespace

void add_plan_predict(CLI::App& plan, Command& selected) {
  auto* command = plan.add_subcommand("predict",
                                      "Throughput, latency, memory and cost of one "
                                      "configuration");
  auto options = std::make_shared<PredictOptions>();
  PredictOptions& o = *options;
  command->add_option("--model", o.model,
                      "name (or part of it) in data/models.csv, or config.json");
  command->add_option("--hardware", o.hardware,
                      "name (or part of it) in data/hardware.csv, or a JSON file");
  command->add_option("--scenario", o.scenario, "JSON file, - for stdin");
  command->add_option("--load", o.load,
                      "recorded load (wingspan-load): the imbalance is what the balancer reaches");
  command->add_option("--constants", o.constants, "constants instead of the built-in ones (CSV)");
  add_calibrate_options(*command, o.calibrate);
  command->add_flag("--validate", o.validate, "compare with all published measurements");
  command->add_flag("--markdown", o.markdown, "with --validate: the tables as Markdown");
  command->add_option("--html", o.html, "with --validate: write a page with the scatter plot");
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kPlanPredictExamples);
  command->callback(
      [options, &selected] { selected = [options] { return predict_command(*options); }; });
}

}  // namespace wingspan
