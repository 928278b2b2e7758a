#include "cli/plan_validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "cli/console.h"
#include "cli/html.h"
#include "cli/plan_charts.h"
#include "cli/plan_inputs.h"
#include "cli/table.h"
#include "plan/accuracy.h"
#include "plan/predict.h"

namespace wingspan {
namespace {

constexpr double kBand = 0.13;  // what nine rows of ten are to stay within

Expected<std::vector<Comparison>> compare_all(const PlanConstants& constants) {
  WS_ASSIGN(const auto rows, measurement_rows());
  std::vector<Comparison> out;
  for (const TableRow& row : rows) {
    const std::string use = row.text("use");
    if ((use != "fit" && use != "check") || !row.has("scenario")) continue;
    Comparison c;
    c.id = row.text("id");
    c.use = use;
    WS_ASSIGN(c.measured, row.number("measured", 1e-9, 1e12));
    WS_ASSIGN(const PlanModel model, plan_model(row.text("model_name")));
    WS_ASSIGN(const PlanGpu gpu, plan_gpu(row.text("hardware_name")));
    WS_ASSIGN(const Json json, parse_json(row.text("scenario"), row.where));
    WS_ASSIGN(const PlanScenario s, parse_scenario(json, row.where, model, nullptr));
    c.family = accuracy_family(gpu, s);
    c.is_itl = row.text("metric") == "itl_ms";
    const auto p = predict(model, gpu, s, constants);
    if (!p) {
      c.refusal = p.error().message();
    } else {
      c.predicted = c.is_itl ? p->itl_ms : p->tokens_per_s_per_gpu;
      // As throughput, so that the sign means the same in every row.
      c.log_error = std::log(c.predicted / c.measured) * (c.is_itl ? -1 : 1);
      c.inside_interval = c.log_error <= -std::log(p->interval_low / p->tokens_per_s_per_gpu) &&
                          -c.log_error <= std::log(p->interval_high / p->tokens_per_s_per_gpu);
    }
    out.push_back(c);
  }
  std::stable_sort(out.begin(), out.end(), [](const Comparison& a, const Comparison& b) {
    return std::make_pair(a.use != "fit", a.family) < std::make_pair(b.use != "fit", b.family);
  });
  return out;
}

OrderedJson json_of(const AccuracySummary& s) {
  return {{"rows", s.rows},     {"median_error", s.median},
          {"p90_error", s.p90}, {"worst_error", s.worst},
          {"bias", s.bias},     {"in_interval", s.covered},
          {"pairs", s.pairs},   {"pairs_in_order", s.ordered}};
}

OrderedJson json_of(const std::vector<Comparison>& all) {
  OrderedJson out;
  out["rows"] = OrderedJson::array();
  for (const Comparison& c : all) {
    out["rows"].push_back({{"id", c.id},
                           {"use", c.use},
                           {"family", c.family},
                           {"metric", c.is_itl ? "itl_ms" : "tokens_per_s_per_gpu"},
                           {"measured", c.measured},
                           {"predicted", c.predicted},
                           {"error", c.predicted / c.measured - 1},
                           {"log_error", c.log_error},
                           {"in_interval", c.inside_interval},
                           {"refusal", c.refusal}});
  }
  out["fit"] = json_of(summarize(all, "fit", ""));
  out["check"] = json_of(summarize(all, "check", ""));
  for (const std::string& family : families_of(all, "fit")) {
    out["families"][family] = json_of(summarize(all, "fit", family));
  }
  return out;
}

Table rows_table(const std::vector<Comparison>& all) {
  Table rows({"row", "family", "predicted", "measured", "error"}, {0, 1});
  for (const Comparison& c : all) {
    if (c.use != "fit") continue;
    rows.add({c.id, c.family, fmt::format("{:.4g}", c.predicted),
              fmt::format("{:.4g} {}", c.measured, c.is_itl ? "ms" : "tok/s"),
              signed_percent(c.predicted / c.measured - 1)});
  }
  return rows;
}

Table families_table(const std::vector<Comparison>& all) {
  Table sums({"family", "rows", "median", "p90", "worst", "bias", "in order", "in interval"});
  const auto add = [&](const std::string& name, const AccuracySummary& s) {
    sums.add({name, std::to_string(s.rows), fmt::format("{:.1f} %", 100 * s.median),
              fmt::format("{:.1f} %", 100 * s.p90), fmt::format("{:.1f} %", 100 * s.worst),
              signed_percent(s.bias), fmt::format("{}/{}", s.ordered, s.pairs),
              fmt::format("{:.0f} %", 100 * s.covered)});
  };
  for (const std::string& f : families_of(all, "fit")) add(f, summarize(all, "fit", f));
  add("all rows of the fit", summarize(all, "fit", ""));
  add("rows with something missing", summarize(all, "check", ""));
  return sums;
}

// One picture a metric, since their units differ.
std::string scatter(const std::vector<Comparison>& all, bool itl) {
  ScatterChart chart;
  chart.series = families_of(all, "fit");
  chart.x_name = itl ? "measured ms per output token" : "measured tokens/s per GPU";
  chart.y_name = itl ? "predicted ms per output token" : "predicted tokens/s per GPU";
  chart.band = kBand;
  for (const Comparison& c : all) {
    if (c.use != "fit" || c.is_itl != itl || !c.refusal.empty()) continue;
    const auto at = std::find(chart.series.begin(), chart.series.end(), c.family);
    chart.points.push_back(
        {c.measured, c.predicted,
         fmt::format("{} ({}): {:.4g} predicted, {:.4g} measured, {}", c.id, c.family, c.predicted,
                     c.measured, signed_percent(c.predicted / c.measured - 1)),
         static_cast<int>(at - chart.series.begin())});
  }
  return svg_scatter(chart);
}

std::string html_of(const std::vector<Comparison>& all) {
  std::string body = fmt::format(
      "<p>Every published measurement that states its configuration completely, beside what the "
      "formulas predict, without a factor per row or per engine. On the line both are equal; the "
      "band is ±{:.0f} %. Pointing at a dot names its row.</p>\n",
      100 * kBand);
  body += "<h2>Throughput</h2>\n" + scatter(all, false);
  body += "<h2>Time per output token</h2>\n" + scatter(all, true);
  body += "<h2>By family</h2>\n" + html_table(families_table(all));
  body += "<h2>Every row</h2>\n" + html_table(rows_table(all));
  return html_page("Predicted against measured", body);
}

}  // namespace

Status validate_command(const ValidateOptions& o) {
  WS_ASSIGN(const PlanConstants constants, plan_constants(o.constants));
  WS_ASSIGN(const auto all, compare_all(constants));
  if (!o.html.empty()) WS_RETURN_IF_ERROR(real_files().write_text(o.html, html_of(all)));
  if (o.json) return print_json(json_of(all));
  const Table rows = rows_table(all), families = families_table(all);
  WS_RETURN_IF_ERROR(print_out(o.markdown ? markdown_table(rows) + "\n" + markdown_table(families)
                                          : rows.text() + "\n" + families.text()));
  return flush_out();
}

}  // namespace wingspan
