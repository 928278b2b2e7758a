// wingspan plan predict: one scenario, or --validate: all published measurements.
#include <fmt/format.h>

#include "cli/console.h"
#include "cli/plan.h"
#include "cli/plan_inputs.h"
#include "cli/plan_load.h"
#include "cli/plan_validate.h"

namespace wingspan {
namespace {

struct PredictOptions {
  std::string model, hardware, scenario, constants, load;
  bool json = false, validate = false;
};

constexpr const char* kExamples = R"(Examples:
  echo '{"phase":"decode","gpus":32,"ep":32,"slots":288,"batch_per_gpu":64,"isl":4096,"osl":1024,
    "dtype":{"experts":"nvfp4","attention":"fp8","kv":"fp8","dispatch":"nvfp4","combine":"bf16"}}' |
    wingspan plan predict --model R1 --hardware GB200 --scenario -
  wingspan plan predict --validate
)";

Status predict_command(const PredictOptions& o) {
  if (o.validate) return validate_command({o.constants, o.json});
  if (o.model.empty() || o.hardware.empty() || o.scenario.empty()) {
    return invalid_input("--model, --hardware and --scenario are needed", "plan predict",
                         "or --validate for the record against measurements");
  }
  WS_ASSIGN(const PlanModel model, plan_model(o.model));
  WS_ASSIGN(const PlanGpu gpu, plan_gpu(o.hardware));
  WS_ASSIGN(const PlanConstants constants, plan_constants(o.constants));
  WS_ASSIGN(ScenarioInput input, plan_scenario(o.scenario, model));
  WS_RETURN_IF_ERROR(use_recorded_load(o.load, model, input.scenario, input.assumptions));
  WS_ASSIGN(const Prediction p, predict(model, gpu, input.scenario, constants));
  add_assumptions(model, gpu, input.scenario, constants, p, &input.assumptions);
  if (o.json) return print_json(json_of_prediction(input.scenario, p, input.assumptions));
  WS_RETURN_IF_ERROR(print_out(prediction_text(model, gpu, input.scenario, p, input.assumptions)));
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
  command->add_flag("--validate", o.validate, "compare with all published measurements");
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kExamples);
  command->callback(
      [options, &selected] { selected = [options] { return predict_command(*options); }; });
}

}  // namespace wingspan
