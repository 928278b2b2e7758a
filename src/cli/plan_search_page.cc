// The page of `wingspan plan search`.
#include <fmt/format.h>

#include <map>

#include "cli/html.h"
#include "cli/plan_charts.h"
#include "cli/plan_search_report.h"
#include "cli/plan_search_table.h"

namespace wingspan {
namespace {

FrontChart front_of(const SearchReport& r) {
  FrontChart chart;
  chart.x_name = "tokens/s per user";
  chart.y_name =
      fmt::format("output tokens/s per GPU, over all {}", r.decision.recommended->candidate.gpus);
  std::map<std::string, int> series;
  const auto add = [&](const Candidate& c, bool marked) {
    const std::string name = fmt::format("EP{}{}", c.decode.ep, c.aggregated ? " aggregated" : "");
    const auto [at, fresh] = series.try_emplace(name, static_cast<int>(chart.series.size()));
    if (fresh) chart.series.push_back(name);
    chart.points.push_back({c.tokens_per_s_per_user, c.tokens_per_s_per_gpu,
                            marked ? "recommended: " + name : describe(c), at->second, marked});
  };
  for (const Candidate& c : r.result.pareto) add(c, false);
  add(r.decision.recommended->candidate, true);
  return chart;
}

StackedBars steps_of(const SearchReport& r) {
  StackedBars bars;
  bars.x_name = "step of the slowest rank, ms";
  std::map<std::string, size_t> column;
  for (const auto& parts : r.width_parts) {
    for (const StepPart& p : parts) {
      if (column.try_emplace(p.name, bars.parts.size()).second) bars.parts.push_back(p.name);
    }
  }
  for (size_t i = 0; i < r.width_parts.size(); ++i) {
    const Candidate& c = r.result.by_width[i];
    std::vector<double> values(bars.parts.size(), 0);
    double sum = 0;
    for (const StepPart& p : r.width_parts[i]) {
      values[column[p.name]] += p.ms;
      sum += p.ms;
    }
    bars.labels.push_back(fmt::format("EP{}", c.decode.ep));
    bars.values.push_back(std::move(values));
    bars.texts.push_back(fmt::format("{:.1f} ms, {:.3g}/GPU", sum, c.batch_per_gpu));
  }
  return bars;
}

StackedBars costs_of(const SearchReport& r) {
  StackedBars bars;
  bars.x_name = fmt::format("$ per million output tokens, {}", r.price_column);
  bars.parts = {"cost"};
  for (const Candidate& c : r.result.by_width) {
    const double usd = token_cost(c, r.context).output;
    bars.labels.push_back(fmt::format("EP{}", c.decode.ep));
    bars.values.push_back({usd});
    bars.texts.push_back(fmt::format("${:.3g}", usd));
  }
  return bars;
}

}  // namespace

std::string search_svg(const SearchReport& r) { return svg_front(front_of(r)); }

std::string search_html(const SearchReport& r) {
  std::string body = fmt::format(
      "<p>{} on {} GPUs of {}: {:g} prompt and {:g} output tokens; p{:g} of TTFT ≤ {:g} ms and of "
      "ITL ≤ {:g} ms.</p>\n",
      escape_html(r.model), r.limits.gpus, escape_html(r.hardware), r.limits.isl, r.limits.osl,
      r.limits.percentile, r.limits.ttft_ms, r.limits.itl_ms);
  body += html_table(search_table(r, false));
  for (const std::string& note : search_notes(r)) body += "<p>" + escape_html(note) + "</p>\n";
  body += "<h2>Speed of a user against throughput of a GPU</h2>\n" + svg_front(front_of(r));
  body +=
      "<p class=\"note\">Every point holds both limits; no other is at least as good in both. All "
      "figures are predicted.</p>\n";
  body += "<h2>Where a step goes, by EP width</h2>\n" + svg_stacked(steps_of(r));
  body +=
      "<p class=\"note\">Of the best deployment of each width within the limits, with its own "
      "batch.</p>\n";
  if (r.context.usd_gpu_hour > 0) {
    body += "<h2>Cost by EP width</h2>\n" + svg_stacked(costs_of(r));
  }
  body += "<h2>All of the front</h2>\n" + html_table(search_table(r, true));
  return html_page("Which deployment to run", body);
}

}  // namespace wingspan
