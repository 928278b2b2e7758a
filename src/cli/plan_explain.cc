// wingspan plan explain: a prediction with each part's formula, the numbers put in, the source of
// each constant, and what would change it.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "cli/console.h"
#include "cli/plan.h"
#include "cli/plan_inputs.h"

namespace wingspan {
namespace {

struct ExplainOptions {
  std::string model, hardware, scenario;
  bool json = false;
};

struct Change {
  std::string what;
  double percent = 0;  // of tokens_per_s_per_gpu
  std::string bound;   // then; or why it cannot run
};

std::vector<Change> changes_of(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
                               const PlanConstants& c, const Prediction& base) {
  std::vector<Change> out;
  const auto ask = [&](const std::string& what, const PlanGpu& g, const PlanScenario& changed) {
    if (const auto bad = validate_scenario(changed, model, what); !bad) {
      out.push_back({what, 0, bad.error().what});
      return;
    }
    const auto p = predict(model, g, changed, c);
    if (!p) {
      out.push_back({what, 0, p.error().what});
      return;
    }
    out.push_back({what, 100 * (p->tokens_per_s_per_gpu / base.tokens_per_s_per_gpu - 1),
                   std::string("bound by ") + name_of(p->step.bound)});
  };
  PlanScenario twice = s;
  if (s.phase == Phase::kPrefill) {
    twice.tokens_per_gpu *= 2;
  } else if (s.concurrency) {
    twice.concurrency = 2 * *s.concurrency;
  } else {
    twice.batch_per_gpu = 2 * base.batch_per_gpu;
  }
  ask("batch x2", gpu, twice);
  PlanScenario wide = s;
  wide.ep *= 2;
  wide.attention_dp *= 2;
  wide.gpus *= 2;
  wide.decode_gpus *= 2;
  if (!wide.concurrency && s.phase != Phase::kPrefill) wide.batch_per_gpu = base.batch_per_gpu;
  ask("EP x2 on twice the GPUs", gpu, wide);
  PlanGpu link = gpu;
  link.scaleup_bytes_per_s *= 2;
  link.scaleup_pair_bytes_per_s *= 2;
  link.scaleout_bytes_per_s *= 2;
  ask("links x2", link, s);
  PlanScenario even = s;
  even.balancing = Balancing::kPerfect;
  ask("perfect balance", gpu, even);
  PlanScenario smaller = s;
  smaller.experts = s.experts == PlanDType::kBf16 ? PlanDType::kFp8 : PlanDType::kNvfp4;
  if (smaller.experts != s.experts) {
    ask(fmt::format("experts in {}", name_of(smaller.experts)), gpu, smaller);
  }
  return out;
}

std::vector<size_t> by_size(const StepCost& step) {
  std::vector<size_t> order(kStepTerms);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return step.ms[a] > step.ms[b]; });
  return order;
}

std::string explanation(const Prediction& p, const Trace& trace,
                        const std::vector<ConstantNote>& notes,
                        const std::vector<Change>& changes) {
  const auto order = by_size(p.step);
  std::string out = fmt::format("\nLargest: {} {:.3f} ms, {} {:.3f} ms, {} {:.3f} ms\n",
                                name_of(static_cast<StepTerm>(order[0])), p.step.ms[order[0]],
                                name_of(static_cast<StepTerm>(order[1])), p.step.ms[order[1]],
                                name_of(static_cast<StepTerm>(order[2])), p.step.ms[order[2]]);
  out +=
      "\nknee(a, b) = (a^p + b^p)^(1/p), p = knee_power; GEMM(n, P) = knee(P*b/(stream*HBM),\n"
      "2*n*P/(e*peak)), 1/e = 1/flops_share + flops_slope*(peak/HBM)/400\n";
  std::set<std::string> used;
  for (const size_t i : order) {
    if (p.step.ms[i] == 0) continue;
    out += fmt::format("\n{}: {:.4f} ms\n", name_of(static_cast<StepTerm>(i)), p.step.ms[i]);
    for (const TraceLine& line : trace) {
      if (static_cast<size_t>(line.term) != i) continue;
      out += fmt::format("  {}\n    {}\n    = {:.4f} us x {:g} = {:.4f} ms\n", line.formula,
                         line.numbers, line.us, line.times, line.us * line.times / 1e3);
      used.insert(line.constants.begin(), line.constants.end());
    }
  }
  out += "\nConstants:\n";
  for (const ConstantNote& n : notes) {
    if (used.count(n.name) == 0) continue;
    out += fmt::format("  {} = {:g} {} (error {}): {}\n", n.name, n.value, n.unit,
                       n.error.empty() ? "not known" : n.error, n.source);
  }
  out += "\nWhat would change it (output or input tokens/s/GPU):\n";
  for (const Change& c : changes) {
    out += fmt::format("  {}: {:+.1f} %, {}\n", c.what, c.percent, c.bound);
  }
  return out;
}

OrderedJson json_of(const Prediction& p, const Trace& trace, const std::vector<ConstantNote>& notes,
                    const std::vector<Change>& changes, OrderedJson out) {
  for (const TraceLine& line : trace) {
    out["lines"].push_back({{"part", name_of(line.term)},
                            {"formula", line.formula},
                            {"numbers", line.numbers},
                            {"us", line.us},
                            {"times", line.times},
                            {"constants", line.constants}});
  }
  for (size_t i = 0; i < 3; ++i) {
    out["largest"].push_back(name_of(static_cast<StepTerm>(by_size(p.step)[i])));
  }
  for (const ConstantNote& n : notes) {
    out["constants"][n.name] = {
        {"value", n.value}, {"unit", n.unit}, {"error", n.error}, {"source", n.source}};
  }
  for (const Change& c : changes) {
    out["changes"].push_back({{"what", c.what}, {"percent", c.percent}, {"then", c.bound}});
  }
  return out;
}

Status explain_command(const ExplainOptions& o) {
  WS_ASSIGN(const PlanModel model, plan_model(o.model));
  WS_ASSIGN(const PlanGpu gpu, plan_gpu(o.hardware));
  std::vector<ConstantNote> notes;
  WS_ASSIGN(const PlanConstants c, plan_constants("", &notes));
  WS_ASSIGN(ScenarioInput in, plan_scenario(o.scenario, model));
  Trace trace;
  WS_ASSIGN(const Prediction p, predict(model, gpu, in.scenario, c, &trace));
  add_assumptions(model, gpu, in.scenario, c, p, &in.assumptions);
  const auto changes = changes_of(model, gpu, in.scenario, c, p);
  if (o.json) {
    return print_json(
        json_of(p, trace, notes, changes, json_of_prediction(in.scenario, p, in.assumptions)));
  }
  WS_RETURN_IF_ERROR(print_out(prediction_text(model, gpu, in.scenario, p, in.assumptions) +
                               explanation(p, trace, notes, changes)));
  return flush_out();
}

}  // namespace

void add_plan_explain(CLI::App& plan, Command& selected) {
  auto* command = plan.add_subcommand("explain", "The same figures, each with formula and numbers");
  auto options = std::make_shared<ExplainOptions>();
  ExplainOptions& o = *options;
  command->add_option("--model", o.model, "name in data/models.csv, or config.json")->required();
  command->add_option("--hardware", o.hardware, "name in data/hardware.csv, or JSON")->required();
  command->add_option("--scenario", o.scenario, "JSON file, - for stdin")->required();
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(
      "Example:\n  wingspan plan explain --model R1 --hardware GB200 --scenario s.json\n");
  command->callback(
      [options, &selected] { selected = [options] { return explain_command(*options); }; });
}

}  // namespace wingspan
