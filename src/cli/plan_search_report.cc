#include "cli/plan_search_report.h"

#include <fmt/format.h>

#include "cli/plan_search_table.h"

namespace wingspan {
namespace {

OrderedJson sensitivity_json(const SearchReport& r) {
  OrderedJson list = OrderedJson::array();
  for (const Sensitivity& s : r.sensitivity) {
    list.push_back({{"change", s.change},
                    {"tokens_per_s_per_gpu", s.tokens_per_s_per_gpu},
                    {"effect_percent", s.effect_percent},
                    {"text", s.text}});
  }
  return list;
}

std::string limit_name(LimitKind kind) {
  switch (kind) {
    case LimitKind::kMemory:
      return "memory";
    case LimitKind::kTtft:
      return "ttft";
    case LimitKind::kItl:
      return "itl";
    case LimitKind::kBudget:
      return "budget";
    case LimitKind::kRate:
      return "rate";
    case LimitKind::kNone:
      break;
  }
  return "none";
}

std::vector<std::string> row(const Candidate& c, const SearchReport& r, const std::string& note) {
  const double usd = token_cost(c, r.context).output;
  return {std::to_string(c.decode.ep),
          std::to_string(c.decode.slots),
          fmt::format("{:.1f}", c.batch_per_gpu),
          std::to_string(c.decode.mtp_depth),
          "|",
          prefill_to_decode(c),
          "|",
          fmt::format("{:.1f}", c.tokens_per_s_per_user),
          fmt::format("{:.0f}", c.tokens_per_s_per_gpu),
          "|",
          fmt::format("{:.0f}", c.ttft_ms.at_percentile),
          fmt::format("{:.2f}", c.itl_ms.at_percentile),
          "|",
          r.context.usd_gpu_hour > 0 ? fmt::format("{:.3f}", usd) : "-",
          "|",
          c.bound_by,
          note};
}

std::string costs(const SearchReport& r, const Candidate& c) {
  std::string text;
  if (r.context.usd_gpu_hour > 0) {
    const TokenCost cost = token_cost(c, r.context);
    text = fmt::format(
        "Cost per million tokens at {} = ${:g}/GPU-h, {} GPUs paid: ${:.3f} output, ${:.4f} input, "
        "${:.4f} input + output (each with all of the cost).",
        r.price_column, r.context.usd_gpu_hour, c.gpus, cost.output, cost.input, cost.total);
  } else {
    text = fmt::format("Cost: {} has no price in column {}.", r.hardware, r.price_column);
  }
  if (r.kw_per_gpu > 0) {
    text += fmt::format(" Power: {:.1f} kW all in", r.kw_per_gpu * c.gpus);
    if (r.usd_per_kwh > 0) {
      const double usd_s = r.kw_per_gpu * c.gpus * r.usd_per_kwh / 3600;
      text += fmt::format(", ${:.4f} per million output tokens at ${:g}/kWh",
                          usd_s / (c.requests_per_s * r.context.osl) * 1e6, r.usd_per_kwh);
    }
    text += ".";
  }
  return text;
}

std::string simulated(const SearchReport& r) {
  const Confirmation& s = r.decision.recommended->confirmation;
  return fmt::format(
      "Simulated ({} requests, {} arrivals): p{:g} TTFT {:.0f} ms, ITL {:.2f} ms; mean TTFT {:.0f} "
      "ms, ITL {:.2f} ms{}.",
      s.requests, r.arrivals, r.limits.percentile, s.ttft_ms, s.itl_ms, s.result.ttft_ms.mean(),
      s.result.itl_ms.mean(),
      r.decision.refused > 0 ? fmt::format("; {} finalists were refused", r.decision.refused) : "");
}

// Which limit a finalist breaks in the simulation.
std::string simulated_break(const SearchReport& r, const Finalist& f) {
  switch (broken_limit(r.limits, f.confirmation)) {
    case LimitKind::kItl:
      return fmt::format("its p{:g} ITL of {:.2f} ms breaks --itl-ms {:g}", r.limits.percentile,
                         f.confirmation.itl_ms, r.limits.itl_ms);
    case LimitKind::kTtft:
      return fmt::format("its p{:g} TTFT of {:.0f} ms breaks --ttft-ms {:g}", r.limits.percentile,
                         f.confirmation.ttft_ms, r.limits.ttft_ms);
    case LimitKind::kMemory:
      return fmt::format("{} requests are longer than a rank's KV cache",
                         f.confirmation.result.refused);
    default:
      return fmt::format("it does not keep up with {:.3g} requests/s", f.candidate.requests_per_s);
  }
}

std::string rejected_text(const RejectedCounts& n) {
  return fmt::format("Left out: {} by memory, {} by TTFT, {} by ITL, {} by budget.", n.memory,
                     n.ttft, n.itl, n.budget);
}

}  // namespace

// Shared with the page.
Table search_table(const SearchReport& r, bool with_front) {
  Table table({"EP", "slots", "batch", "MTP", "|", "P:D", "|", "tok/s/user", "tok/s/GPU", "|",
               "TTFT", "ITL", "|", "$/M", "|", "bound", ""},
              {0, 15, 16});
  table.add(row(r.decision.recommended->candidate, r, "recommended"));
  if (r.decision.runner_up) table.add(row(r.decision.runner_up->candidate, r, "runner-up"));
  if (!with_front) return table;
  for (const Candidate& c : r.result.pareto) {
    table.add(row(c, r, c.aggregated ? "front, aggregated" : "front"));
  }
  return table;
}

std::vector<std::string> search_notes(const SearchReport& r) {
  std::vector<std::string> notes = {r.reason};
  if (r.decision.runner_up) notes.push_back("Runner-up: " + r.why_not_runner_up);
  notes.push_back(simulated(r));
  notes.push_back(costs(r, r.decision.recommended->candidate));
  for (const Sensitivity& s : r.sensitivity) notes.push_back(s.text);
  notes.push_back(rejected_text(r.result.rejected));
  notes.push_back(fmt::format("Assumed: {}.", fmt::join(r.assumptions, "; ")));
  return notes;
}

OrderedJson search_json(const SearchReport& r) {
  OrderedJson j;
  const auto finalist = [&](const std::optional<Finalist>& f) {
    return f ? candidate_json(f->candidate, r.context) : OrderedJson(nullptr);
  };
  j["recommended"] = finalist(r.decision.recommended);
  j["runner_up"] = finalist(r.decision.runner_up);
  j["reason"] = r.decision.recommended ? r.reason : nothing_holds(r);
  j["why_not_runner_up"] = r.why_not_runner_up;
  j["pareto"] = OrderedJson::array();
  if (r.decision.recommended) {
    for (const Candidate& c : r.result.pareto) j["pareto"].push_back(candidate_json(c, r.context));
  }
  const RejectedCounts& n = r.result.rejected;
  j["rejected"] = {{"memory", n.memory}, {"ttft", n.ttft}, {"itl", n.itl}, {"budget", n.budget}};
  j["sensitivity"] = sensitivity_json(r);
  j["assumptions"] = r.assumptions;
  if (r.decision.recommended) {
    j["sensitivity"].push_back(
        {{"change", "cost"},
         {"tokens_per_s_per_gpu", r.decision.recommended->candidate.tokens_per_s_per_gpu},
         {"effect_percent", 0},
         {"text", costs(r, r.decision.recommended->candidate)}});
    j["sensitivity"].push_back(
        {{"change", "simulation"},
         {"tokens_per_s_per_gpu", r.decision.recommended->candidate.tokens_per_s_per_gpu},
         {"effect_percent", 0},
         {"text", simulated(r)}});
    return j;
  }
  j["nearest"] =
      r.result.nearest ? candidate_json(*r.result.nearest, r.context) : OrderedJson(nullptr);
  j["breaks"] = limit_name(r.result.broken);
  return j;
}

std::string search_text(const SearchReport& r) {
  std::string out = fmt::format(
      "{} on {} GPUs of {}, {:g} tokens in and {:g} out, p{:g} of TTFT ≤ {:g} ms and ITL ≤ {:g} "
      "ms.\nP:D are prefill and decode instances; tok/s/GPU is output over all {} GPUs; TTFT and "
      "ITL are p{:g} in ms; $/M is for output tokens ({}).\n\n",
      r.model, r.limits.gpus, r.hardware, r.limits.isl, r.limits.osl, r.limits.percentile,
      r.limits.ttft_ms, r.limits.itl_ms, r.decision.recommended->candidate.gpus,
      r.limits.percentile, r.price_column);
  out += search_table(r, true).text() + "\n";
  for (const std::string& note : search_notes(r)) out += note + "\n";
  return out;
}

std::string nothing_holds(const SearchReport& r) {
  const std::string limit = limit_name(r.result.broken);
  if (!r.result.nearest) {
    return r.result.broken == LimitKind::kMemory
               ? fmt::format("{} does not fit {} GPUs of {} in any way", r.model, r.limits.gpus,
                             r.hardware)
               : fmt::format("the budget pays for no deployment that holds the limits");
  }
  const Candidate& c = *r.result.nearest;
  std::string breaks;
  if (r.decision.nearest) {
    return fmt::format("nothing holds all limits in the simulation; nearest is {}, but {}",
                       describe(c), simulated_break(r, *r.decision.nearest));
  }
  if (r.result.broken == LimitKind::kItl) {
    breaks = fmt::format("its p{:g} ITL of {:.2f} ms breaks --itl-ms {:g}", r.limits.percentile,
                         c.itl_ms.at_percentile, r.limits.itl_ms);
  } else if (r.result.broken == LimitKind::kTtft) {
    breaks = fmt::format("its p{:g} TTFT of {:.0f} ms breaks --ttft-ms {:g}", r.limits.percentile,
                         c.ttft_ms.at_percentile, r.limits.ttft_ms);
  } else if (r.result.broken == LimitKind::kRate) {
    breaks = fmt::format("its {:.3g} requests/s break --rate-rps {:g}", c.requests_per_s,
                         r.limits.rate_rps.value_or(0));
  } else {
    breaks = fmt::format("it breaks the {}", limit);
  }
  return fmt::format("nothing holds all limits; nearest is {}, but {}", describe(c), breaks);
}

}  // namespace wingspan
