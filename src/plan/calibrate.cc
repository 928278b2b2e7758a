#include "plan/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/quantile.h"

namespace wingspan {
namespace {

constexpr size_t kMostRecords = 200'000;

Expected<StepRecord> parse_record(const JsonObject& o) {
  for (const auto& [key, value] : o.json().items()) {
    if (key != "phase" && key != "wall_ms" && key != "rows" && key != "kv_tokens") {
      return invalid_input("unknown key \"" + key + "\"", o.where(),
                           "use wall_ms, rows, kv_tokens and phase");
    }
  }
  StepRecord r;
  WS_ASSIGN(const std::string phase, o.string_or("phase", "decode"));
  if (phase != "decode" && phase != "prefill") {
    return invalid_input("\"phase\" is \"" + phase + "\"", o.where(), "use decode or prefill");
  }
  r.phase = phase == "decode" ? Phase::kDecode : Phase::kPrefill;
  WS_ASSIGN(r.wall_ms, o.number("wall_ms", 1e-3, 1e7));
  WS_ASSIGN(r.rows, o.number("rows", 1e-3, 1e7));
  if (r.phase == Phase::kDecode) {
    WS_ASSIGN(r.kv_tokens, o.number("kv_tokens", 0, 1e10));
    return r;
  }
  WS_ASSIGN(r.kv_tokens, o.number_or("kv_tokens", 0, 1e10, 0));
  if (r.kv_tokens > 0 && r.kv_tokens < r.rows) {
    return o.bad("kv_tokens", "is less than rows: a prompt's own tokens are in the cache too");
  }
  return r;
}

EngineFactor factor_of(const std::vector<FittedRecord>& records, Phase phase) {
  std::vector<double> logs;
  for (const FittedRecord& r : records) {
    if (r.record.phase == phase) logs.push_back(std::log(r.ratio()));
  }
  if (logs.empty()) return {};
  return {static_cast<int>(logs.size()), std::exp(sample_quantile(logs, 0.5)),
          std::exp(sample_quantile(logs, 0.1)), std::exp(sample_quantile(logs, 0.9))};
}

double predicted_ms(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& scenario,
                    const PlanConstants& c, const StepRecord& r) {
  if (r.phase == Phase::kDecode) {
    const double batch = r.rows / (1 + scenario.mtp_k);
    return decode_step(model, gpu, scenario, c, batch, std::max(1.0, r.kv_tokens / batch)).step_ms;
  }
  PlanScenario s = scenario;
  s.tokens_per_gpu = r.rows;
  if (r.kv_tokens > 0) {
    // Prompts of as many new tokens as the scenario's; what else is in the cache was there before.
    const double fresh = std::max(1.0, s.isl * (1 - s.cached_fraction));
    s.isl = fresh * r.kv_tokens / r.rows;
    s.cached_fraction = 1 - fresh / s.isl;
  }
  const double ep = s.phase == Phase::kDisaggregated ? s.prefill_ep : s.ep;
  return prefill_pass(model, gpu, s, c, ep).step_ms;
}

double constant_range(const PlanConstants& c, Phase phase, bool scaleout) {
  switch (phase) {
    case Phase::kPrefill:
      return c.interval_prefill;
    case Phase::kAggregated:
      return c.interval_aggregated;
    case Phase::kDisaggregated:
      return c.interval_disaggregated;
    case Phase::kDecode:
      break;
  }
  return scaleout ? c.interval_decode_scaleout : c.interval_decode;
}

// A slow step is a low throughput. The median of few records is itself uncertain: its standard
// error, 1.25 σ/√n, adds as squares.
LogRange range_of(const EngineFactor& e) {
  const double to_high = std::log(e.high / e.factor), to_low = std::log(e.factor / e.low);
  constexpr double kEighty = 1.2816;  // of a normal distribution, in σ to each side
  const double sigma = (to_high + to_low) / (2 * kEighty);
  const double median = kEighty * 1.2533 * sigma / std::sqrt(static_cast<double>(e.records));
  return {std::hypot(to_high, median), std::hypot(to_low, median)};
}

std::string learned(const EngineFactor& e, const char* phase, const std::string& where) {
  return fmt::format(
      "{} steps take {:.4g} times what the formulas say, learned from {} records of {} (80 % of "
      "them between {:.4g} and {:.4g})",
      phase, e.factor, e.records, where, e.low, e.high);
}

}  // namespace

Expected<std::vector<StepRecord>> parse_step_records(std::string_view text,
                                                     const std::string& where) {
  std::vector<StepRecord> out;
  int decode = 0;
  for (int line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    const std::string_view row = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}:{}", where, line);
    if (out.size() == kMostRecords) {
      return invalid_input("more than 200,000 records", place, "give a part of them");
    }
    WS_ASSIGN(const Json json, parse_json(row, place, {.max_bytes = 1 << 16, .max_depth = 4}));
    WS_ASSIGN(const JsonObject object, JsonObject::from(json, place));
    WS_ASSIGN(const StepRecord record, parse_record(object));
    decode += record.phase == Phase::kDecode ? 1 : 0;
    out.push_back(record);
  }
  const int prefill = static_cast<int>(out.size()) - decode;
  if (out.empty()) {
    return invalid_input(
        "no record of a step", where,
        R"(give lines such as {"wall_ms": 18.2, "rows": 64, "kv_tokens": 290000})");
  }
  for (const auto& [count, phase] : {std::pair(decode, "decode"), std::pair(prefill, "prefill")}) {
    if (count == 0 || count >= kLeastRecords) continue;
    return invalid_input(fmt::format("only {} {} records", count, phase), where,
                         fmt::format("record at least {} steps of a phase", kLeastRecords));
  }
  return out;
}

Calibration calibrate(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& scenario,
                      const PlanConstants& c, const std::vector<StepRecord>& records) {
  PlanScenario plain = scenario;
  plain.engine_decode = plain.engine_prefill = {};
  Calibration out;
  out.records.reserve(records.size());
  for (const StepRecord& r : records) {
    out.records.push_back({r, predicted_ms(model, gpu, plain, c, r)});
  }
  out.decode = factor_of(out.records, Phase::kDecode);
  out.prefill = factor_of(out.records, Phase::kPrefill);
  return out;
}

Status use_calibration(const Calibration& calibration, const std::string& where, PlanScenario& s,
                       std::vector<std::string>* assumptions) {
  const bool decode = calibration.decode.records > 0, prefill = calibration.prefill.records > 0;
  if ((s.phase == Phase::kDecode && !decode) || (s.phase == Phase::kPrefill && !prefill)) {
    return invalid_input(fmt::format("no record of a {} step", name_of(s.phase)), where,
                         "record steps of the phase that is asked for");
  }
  s.engine_decode = calibration.decode;
  s.engine_prefill = calibration.prefill;
  if (assumptions == nullptr) return {};
  const bool asks_decode = s.phase != Phase::kPrefill, asks_prefill = s.phase != Phase::kDecode;
  if (asks_decode) {
    assumptions->push_back(decode ? learned(s.engine_decode, "decode", where)
                                  : where + " has no decode records: decode is uncalibrated");
  }
  if (asks_prefill) {
    assumptions->push_back(prefill ? learned(s.engine_prefill, "prefill", where)
                                   : where + " has no prefill records: prefill is uncalibrated");
  }
  return {};
}

LogRange throughput_range(const PlanConstants& c, const PlanScenario& s, bool scaleout) {
  LogRange out;
  const auto take = [&out](const LogRange& r) {
    out = {std::max(out.down, r.down), std::max(out.up, r.up)};
  };
  const bool decode = s.phase != Phase::kPrefill, prefill = s.phase != Phase::kDecode;
  const bool all =
      (!decode || s.engine_decode.records > 0) && (!prefill || s.engine_prefill.records > 0);
  if (!all) take({constant_range(c, s.phase, scaleout), constant_range(c, s.phase, scaleout)});
  if (decode && s.engine_decode.records > 0) take(range_of(s.engine_decode));
  if (prefill && s.engine_prefill.records > 0) take(range_of(s.engine_prefill));
  return out;
}

StepCost with_engine(StepCost cost, const EngineFactor& engine, Trace* trace, size_t first) {
  if (engine.records == 0) return cost;
  for (double& ms : cost.ms) ms *= engine.factor;
  for (double& ms : cost.bound_ms) ms *= engine.factor;
  cost.step_ms *= engine.factor;
  cost.experts_seen_ms *= engine.factor;
  if (trace == nullptr) return cost;
  for (size_t i = first; i < trace->size(); ++i) {
    TraceLine& line = (*trace)[i];
    line.formula = "(" + line.formula + ") * engine";
    line.numbers = fmt::format("({}) * {:.5g}", line.numbers, engine.factor);
    line.us *= engine.factor;
  }
  return cost;
}

}  // namespace wingspan
