#include "cli/plan_calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "cli/plan_inputs.h"

namespace wingspan {
namespace {

constexpr uint64_t kMostRecordBytes = uint64_t{1} << 26;
constexpr size_t kGroups = 12;

const EngineFactor& factor_of(const Calibration& c, Phase phase) {
  return phase == Phase::kDecode ? c.decode : c.prefill;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// One line for like records: neighbours by what the formulas say of them.
std::vector<std::string> group_row(const std::vector<FittedRecord>& group, double factor) {
  const auto middle = [&group](auto value) {
    std::vector<double> values;
    for (const FittedRecord& r : group) values.push_back(value(r));
    return median(std::move(values));
  };
  const double observed = middle([](const FittedRecord& r) { return r.record.wall_ms; });
  const double predicted = middle([](const FittedRecord& r) { return r.predicted_ms; });
  const auto error = [](double x, double y) { return fmt::format("{:+.1f} %", 100 * (x / y - 1)); };
  return {name_of(group.front().record.phase),
          std::to_string(group.size()),
          fmt::format("{:.4g}", middle([](const FittedRecord& r) { return r.record.rows; })),
          fmt::format("{:.4g}", middle([](const FittedRecord& r) { return r.record.kv_tokens; })),
          fmt::format("{:.4g}", observed),
          fmt::format("{:.4g}", predicted),
          error(predicted, observed),
          fmt::format("{:.4g}", predicted * factor),
          error(predicted * factor, observed)};
}

void add_groups(const Calibration& c, Phase phase, Table& table) {
  std::vector<FittedRecord> all;
  for (const FittedRecord& r : c.records) {
    if (r.record.phase == phase) all.push_back(r);
  }
  std::stable_sort(all.begin(), all.end(), [](const FittedRecord& a, const FittedRecord& b) {
    return a.predicted_ms < b.predicted_ms;
  });
  const size_t groups = std::min(kGroups, all.size());
  for (size_t g = 0; g < groups; ++g) {
    const auto at = [&](size_t i) {
      return all.begin() + static_cast<std::ptrdiff_t>(i * all.size() / groups);
    };
    table.add(group_row({at(g), at(g + 1)}, factor_of(c, phase).factor));
  }
}

OrderedJson factor_json(const EngineFactor& e) {
  if (e.records == 0) return nullptr;
  return {{"records", e.records}, {"factor", e.factor}, {"low", e.low}, {"high", e.high}};
}

}  // namespace

void add_calibrate_options(CLI::App& command, CalibrateOptions& o) {
  command.add_option("--calibrate", o.records,
                     "learn a factor from an engine's step records: JSON lines with wall_ms, rows, "
                     "kv_tokens (per GPU), phase");
  command.add_option("--calibrate-scenario", o.scenario,
                     "what the engine ran when it recorded, if it isn't the scenario asked");
}

Expected<std::optional<Calibration>> read_calibration(const CalibrateOptions& o,
                                                      const PlanModel& model, const PlanGpu& gpu,
                                                      const PlanConstants& constants,
                                                      const PlanScenario& asked) {
  if (o.records.empty()) {
    if (o.scenario.empty()) return std::optional<Calibration>();
    return invalid_input("there are no records", "--calibrate-scenario", "give --calibrate too");
  }
  WS_ASSIGN(const std::string text, real_files().read_text(o.records, kMostRecordBytes));
  WS_ASSIGN(const auto records, parse_step_records(text, o.records));
  if (o.scenario.empty()) return calibrate(model, gpu, asked, constants, records);
  WS_ASSIGN(const ScenarioInput ran, plan_scenario(o.scenario, model));
  return calibrate(model, gpu, ran.scenario, constants, records);
}

std::string calibration_text(const Calibration& c) {
  Table table({"records", "number", "rows", "KV tokens", "observed ms", "formulas ms", "error",
               "with factor ms", "error"});
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) add_groups(c, phase, table);
  std::string out = table.text();
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    const EngineFactor& e = factor_of(c, phase);
    if (e.records == 0) continue;
    out +=
        fmt::format("{}: measured / predicted = {:.4g}, 80 % of {} records in {:.4g} to {:.4g}\n",
                    name_of(phase), e.factor, e.records, e.low, e.high);
  }
  return out + "Medians of groups of like records.\n";
}

OrderedJson calibration_json(const Calibration& c) {
  OrderedJson out;
  out["decode"] = factor_json(c.decode);
  out["prefill"] = factor_json(c.prefill);
  out["records"] = OrderedJson::array();
  for (const FittedRecord& r : c.records) {
    out["records"].push_back(
        {{"phase", name_of(r.record.phase)},
         {"rows", r.record.rows},
         {"kv_tokens", r.record.kv_tokens},
         {"observed_ms", r.record.wall_ms},
         {"formulas_ms", r.predicted_ms},
         {"predicted_ms", r.predicted_ms * factor_of(c, r.record.phase).factor}});
  }
  return out;
}

}  // namespace wingspan
