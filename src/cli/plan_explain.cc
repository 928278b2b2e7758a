// wingspan plan explain: a prediction with each part's formula, numbers and sources.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "cli/console.h"
#include "cli/plan.h"
#include "cli/plan_calibrate.h"
#include "cli/plan_inputs.h"
#include "cli/plan_load.h"
#include "cli/table.h"
#include "plan/explain.h"

namespace wingspan {
namespace {

struct ExplainOptions {
  std::string model, hardware, scenario, compare, constants, load;
  CalibrateOptions calibrate;
  bool json = false;
};

constexpr const char* kPlanExplainExamples = R"(Example:
  echo '{"phase":"decode","gpus":32,"ep":32,"slots":288,"batch_per_gpu":64,"isl":4096,"osl":1024,
    "dtype":{"experts":"nvfp4","attention":"fp8","kv":"fp8","dispatch":"nvfp4","combine":"bf16"}}' |
    wingspan plan explain --model R1 --hardware GB200 --scenario -
)";

struct Side {
  ScenarioInput input;
  Explanation explanation;
};

std::vector<ConstantNote> constants_used(const std::vector<ConstantNote>& all,
                                         const Explanation& e) {
  std::set<std::string> names{"memory_share", "buffer_gb"};
  for (const ExplainedPart& part : e.parts) {
    for (const TraceLine& line : part.lines) {
      names.insert(line.constants.begin(), line.constants.end());
    }
  }
  // The draft's line stands for a layer like the others; its constants are theirs.
  std::vector<ConstantNote> out;
  for (const ConstantNote& note : all) {
    if (names.count(note.name) > 0) out.push_back(note);
  }
  return out;
}

OrderedJson json_of_side(const PlanScenario& s, const Explanation& e,
                         const std::vector<std::string>& assumptions,
                         const std::vector<ConstantNote>& notes) {
  OrderedJson out = json_of_prediction(s, e.prediction, assumptions);
  out["parts"] = OrderedJson::array();
  for (const ExplainedPart& part : e.parts) {
    OrderedJson lines = OrderedJson::array();
    for (const TraceLine& line : part.lines) {
      lines.push_back({{"formula", line.formula},
                       {"numbers", line.numbers},
                       {"us", line.us},
                       {"times", line.times},
                       {"constants", line.constants}});
    }
    out["parts"].push_back({{"part", name_of(part.term)},
                            {"ms", part.ms},
                            {"share", part.ms / e.prediction.step.step_ms},
                            {"lines", lines}});
  }
  out["figures"] = OrderedJson::array();
  for (const FigureLine& f : e.figures) {
    out["figures"].push_back(
        {{"figure", f.figure}, {"formula", f.formula}, {"numbers", f.numbers}, {"value", f.value}});
  }
  out["constants"] = OrderedJson::array();
  for (const ConstantNote& n : constants_used(notes, e)) {
    out["constants"].push_back({{"name", n.name},
                                {"value", n.value},
                                {"unit", n.unit},
                                {"error", n.error},
                                {"source", n.source}});
  }
  out["what_if"] = OrderedJson::array();
  for (const WhatIf& w : e.what_if) {
    OrderedJson row = {{"change", w.change}};
    row["effect_percent"] = w.prediction ? OrderedJson(100 * w.effect) : OrderedJson(nullptr);
    row["tokens_per_s_per_gpu"] =
        w.prediction ? OrderedJson(w.prediction->tokens_per_s_per_gpu) : OrderedJson(nullptr);
    row["step_ms"] = w.prediction ? OrderedJson(w.prediction->step.step_ms) : OrderedJson(nullptr);
    row["bound_by"] =
        w.prediction ? OrderedJson(name_of(w.prediction->step.bound)) : OrderedJson(nullptr);
    row["refusal"] = w.prediction ? OrderedJson(nullptr) : OrderedJson(w.refusal);
    out["what_if"].push_back(row);
  }
  return out;
}

std::string part_text(const ExplainedPart& part, double step_ms) {
  std::string out = fmt::format("{}: {:.3f} ms, {:.1f} % of the step\n", name_of(part.term),
                                part.ms, 100 * part.ms / step_ms);
  for (const TraceLine& line : part.lines) {
    out += fmt::format("    {}\n      = {}\n      = {:.5g} us, x {:g} = {:.4f} ms\n", line.formula,
                       line.numbers, line.us, line.times, line.us * line.times * 1e-3);
    if (line.constants.empty()) continue;
    out += "      from";
    for (const std::string& name : line.constants) out += " " + name;
    out += "\n";
  }
  return out + "\n";
}

std::string what_if_text(const Explanation& e) {
  Table table({"what if", "tokens/s/GPU", "effect", "step ms", "bound by"});
  std::string refused;
  for (const WhatIf& w : e.what_if) {
    if (!w.prediction) {
      table.add({w.change, "-", "-", "-", "-"});
      refused += fmt::format("{}: {}\n", w.change, w.refusal);
      continue;
    }
    table.add({w.change, fmt::format("{:.0f}", w.prediction->tokens_per_s_per_gpu),
               signed_percent(w.effect), fmt::format("{:.3f}", w.prediction->step.step_ms),
               name_of(w.prediction->step.bound)});
  }
  return table.text() + refused;
}

std::string text_of(const PlanModel& model, const PlanGpu& gpu, const Side& side,
                    const std::vector<std::string>& assumptions,
                    const std::vector<ConstantNote>& notes) {
  const Explanation& e = side.explanation;
  std::string out =
      prediction_text(model, gpu, side.input.scenario, e.prediction, assumptions) + "\n";
  out += "Parts, the largest first (knee(a, b) = (a^p + b^p)^(1/p), p = knee_power):\n\n";
  for (const ExplainedPart& part : e.parts) out += part_text(part, e.prediction.step.step_ms);
  out += "Figures:\n\n";
  for (const FigureLine& f : e.figures) {
    out += fmt::format("{} = {}\n    {}\n    = {}\n", f.figure, f.formula, f.numbers, f.value);
  }
  out += "\n" + what_if_text(e) + "\n";
  Table table({"constant", "value", "unit", "error", "source"}, {0, 2, 4});
  for (const ConstantNote& n : constants_used(notes, e)) {
    table.add({n.name, fmt::format("{:g}", n.value), n.unit, n.error, n.source});
  }
  return out + table.text();
}

// The parts of both, by how much they differ.
std::vector<std::pair<StepTerm, double>> differences(const StepCost& a, const StepCost& b) {
  std::vector<std::pair<StepTerm, double>> out;
  for (size_t i = 0; i < kStepTerms; ++i) {
    if (a.ms[i] != 0 || b.ms[i] != 0) {
      out.emplace_back(static_cast<StepTerm>(i), b.ms[i] - a.ms[i]);
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& x, const auto& y) {
    return std::fabs(x.second) > std::fabs(y.second);
  });
  return out;
}

std::string lines_of(const Explanation& e, StepTerm term) {
  std::string out;
  for (const ExplainedPart& part : e.parts) {
    if (part.term != term) continue;
    for (const TraceLine& line : part.lines) {
      out += fmt::format("      {}\n        = {}\n        = {:.5g} us, x {:g}\n", line.formula,
                         line.numbers, line.us, line.times);
    }
  }
  return out.empty() ? "      nothing\n" : out;
}

std::string comparison_text(const ExplainOptions& o, const Side& a, const Side& b) {
  const StepCost& first = a.explanation.prediction.step;
  const StepCost& second = b.explanation.prediction.step;
  const auto parts = differences(first, second);
  Table table({"part", "first ms", "second ms", "difference", "share of the difference"});
  const double whole = second.step_ms - first.step_ms;
  double moved = 0;
  for (const auto& part : parts) moved += std::fabs(part.second);
  // Where gains and losses nearly cancel, a share of what is left says nothing.
  const bool cancel = whole == 0 || std::fabs(whole) < 0.1 * moved;
  for (const auto& [term, difference] : parts) {
    table.add({name_of(term), fmt::format("{:.3f}", first.of(term)),
               fmt::format("{:.3f}", second.of(term)), fmt::format("{:+.3f}", difference),
               cancel ? "-" : fmt::format("{:.0f} %", 100 * difference / whole)});
  }
  table.add({"step", fmt::format("{:.3f}", first.step_ms), fmt::format("{:.3f}", second.step_ms),
             fmt::format("{:+.3f}", whole), cancel ? "-" : "100 %"});
  const double x = a.explanation.prediction.tokens_per_s_per_gpu;
  const double y = b.explanation.prediction.tokens_per_s_per_gpu;
  std::string out =
      fmt::format("first: {}\nsecond: {}\n\n{}\ntokens/s/GPU: {:.0f} against {:.0f} ({})\n",
                  o.scenario, o.compare, table.text(), x, y, signed_percent(y / x - 1));
  out +=
      fmt::format("bound by {} against {}; imbalance {:.3f} against {:.3f}\n\n",
                  name_of(first.bound), name_of(second.bound), first.imbalance, second.imbalance);
  for (size_t i = 0; i < std::min<size_t>(3, parts.size()); ++i) {
    out += fmt::format("{} ({:+.3f} ms)\n    first:\n{}    second:\n{}", name_of(parts[i].first),
                       parts[i].second, lines_of(a.explanation, parts[i].first),
                       lines_of(b.explanation, parts[i].first));
  }
  return out;
}

OrderedJson json_of_comparison(OrderedJson first, OrderedJson second, const Side& a,
                               const Side& b) {
  const Prediction &x = a.explanation.prediction, &y = b.explanation.prediction;
  OrderedJson out;
  out["first"] = std::move(first);
  out["second"] = std::move(second);
  out["difference_ms"] = OrderedJson::object();
  for (const auto& [term, difference] : differences(x.step, y.step)) {
    out["difference_ms"][name_of(term)] = difference;
  }
  out["step_ms"] = y.step.step_ms - x.step.step_ms;
  out["tokens_per_s_per_gpu_percent"] = 100 * (y.tokens_per_s_per_gpu / x.tokens_per_s_per_gpu - 1);
  return out;
}

Status explain_command(const ExplainOptions& o) {
  std::vector<ConstantNote> notes;
  WS_ASSIGN(const PlanModel model, plan_model(o.model));
  WS_ASSIGN(const PlanGpu gpu, plan_gpu(o.hardware));
  WS_ASSIGN(const PlanConstants constants, plan_constants(o.constants, &notes));
  std::vector<Side> sides;
  std::optional<Calibration> calibration;  // both sides run the same engine
  for (const std::string& path : {o.scenario, o.compare}) {
    if (path.empty()) continue;
    if (path == "-" && !sides.empty() && o.scenario == "-") {
      return invalid_input("stdin can be read once", "--compare");
    }
    Side side;
    WS_ASSIGN(side.input, plan_scenario(path, model));
    WS_RETURN_IF_ERROR(
        use_recorded_load(o.load, model, side.input.scenario, side.input.assumptions));
    PlanScenario& s = side.input.scenario;
    if (!calibration) {
      WS_ASSIGN(calibration, read_calibration(o.calibrate, model, gpu, constants, s));
    }
    if (calibration) {
      WS_RETURN_IF_ERROR(
          use_calibration(*calibration, o.calibrate.records, s, &side.input.assumptions));
    }
    WS_ASSIGN(side.explanation, explain(model, gpu, s, constants));
    add_assumptions(model, gpu, s, constants, side.explanation.prediction, &side.input.assumptions);
    sides.push_back(std::move(side));
  }
  if (!o.json) {
    WS_RETURN_IF_ERROR(print_out(
        sides.size() > 1 ? comparison_text(o, sides[0], sides[1])
                         : text_of(model, gpu, sides[0], sides[0].input.assumptions, notes)));
    return flush_out();
  }
  std::vector<OrderedJson> documents;
  for (const Side& side : sides) {
    documents.push_back(
        json_of_side(side.input.scenario, side.explanation, side.input.assumptions, notes));
  }
  if (sides.size() == 1) return print_json(documents[0]);
  return print_json(json_of_comparison(documents[0], documents[1], sides[0], sides[1]));
}

}  // namespace

void add_plan_explain(CLI::App& plan, Command& selected) {
  auto* command = plan.add_subcommand(
      "explain", "A prediction part by part: formula, numbers, sources, what would change it");
  auto options = std::make_shared<ExplainOptions>();
  ExplainOptions& o = *options;
  command->add_option("--model", o.model, "name (or part of it) in data/models.csv, or config.json")
      ->required();
  command
      ->add_option("--hardware", o.hardware,
                   "name (or part of it) in data/hardware.csv, or a JSON file")
      ->required();
  command->add_option("--scenario", o.scenario, "JSON file, - for stdin")->required();
  command->add_option("--compare", o.compare, "a second scenario: the difference part by part");
  command->add_option("--load", o.load,
                      "recorded load (wingspan-load): the imbalance is what the balancer reaches");
  command->add_option("--constants", o.constants, "constants instead of the built-in ones (CSV)");
  add_calibrate_options(*command, o.calibrate);
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kPlanExplainExamples);
  command->callback(
      [options, &selected] { selected = [options] { return explain_command(*options); }; });
}

}  // namespace wingspan
