#include "cli/balance_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/html.h"
#include "cli/table.h"

namespace wingspan {
namespace {

std::string number(double value) { return fmt::format("{:.6g}", value); }
std::string percent(double share) { return fmt::format("{:.2f} %", 100 * share); }

struct Totals {
  double max = 0, mean = 0, bound = 0, balancedness = 0;
};

Totals totals_of(const std::vector<LayerReport>& reports) {
  Totals out;
  for (const LayerReport& r : reports) {
    out.max += r.max_rank_load;
    out.mean += r.mean_rank_load;
    out.bound += r.lower_bound;
    out.balancedness += r.balancedness / static_cast<double>(reports.size());
  }
  return out;
}

Table layer_table(const BalanceResult& result) {
  std::vector<std::string> head = {"layer",        "max rank load", "mean",
                                   "balancedness", "lower bound",   "gap"};
  if (result.current) head.insert(head.end(), {"max before", "moves"});
  Table table(head);
  for (size_t l = 0; l < result.reports.size(); ++l) {
    const LayerReport& r = result.reports[l];
    std::vector<std::string> row = {std::to_string(result.placement.layers[l].layer),
                                    number(r.max_rank_load),
                                    number(r.mean_rank_load),
                                    fmt::format("{:.4f}", r.balancedness),
                                    number(r.lower_bound),
                                    percent(r.gap)};
    if (result.current) {
      row.push_back(number(result.current_reports[l].max_rank_load));
      row.push_back(std::to_string(result.moves[l].moves.size()));
    }
    table.add(std::move(row));
  }
  const Totals t = totals_of(result.reports);
  std::vector<std::string> last = {
      "total",         number(t.max),
      number(t.mean),  fmt::format("{:.4f}", t.balancedness),
      number(t.bound), percent(t.bound > 0 ? t.max / t.bound - 1 : 0.0)};
  if (result.current) {
    last.push_back(number(totals_of(result.current_reports).max));
    last.push_back(std::to_string(result.moved_slots));
  }
  table.add(std::move(last));
  return table;
}

Table frontier_table(const BalanceResult& result) {
  Table table({"moves per layer at most", "balancedness"});
  for (const FrontierTotal& point : result.frontier) {
    table.add({std::to_string(point.moves_per_layer), fmt::format("{:.4f}", point.balancedness)});
  }
  return table;
}

HeatMap heat_map(const Placement& placement, const LoadMatrix& load) {
  HeatMap out;
  out.columns = "rank";
  for (size_t l = 0; l < placement.layers.size(); ++l) {
    out.rows.push_back(std::to_string(placement.layers[l].layer));
    out.values.push_back(
        rank_costs(placement.topology, placement.layers[l].slot_to_expert, ShareModel(load[l])));
  }
  return out;
}

// What the page compares with where no placement is running: one slot an expert, in order.
Placement before_of(const BalanceResult& result) {
  if (result.current) return *result.current;
  std::vector<int> layers;
  for (const LayerPlacement& layer : result.placement.layers) layers.push_back(layer.layer);
  const Topology& t = result.placement.topology;
  return contiguous_placement(t.experts, layers, t.ranks(), t.slots() - t.experts);
}

}  // namespace

std::string balance_text(const BalanceResult& result) {
  const Topology& t = result.placement.topology;
  std::string out = fmt::format(
      "{} experts in {} slots on {} ranks{}; loads in tokens, a replica carries an equal part\n\n",
      t.experts, t.slots(), t.ranks(),
      t.grouped() ? fmt::format(" of {} nodes, {} groups kept on nodes", t.nodes, t.groups) : "");
  out += layer_table(result).text();
  if (!result.frontier.empty()) out += "\n" + frontier_table(result).text();
  return out + "\nreason: " + result.reason + "\n";
}

std::string html_curves(const Curves& curves) {
  constexpr double kWidth = 720, kHeight = 260, kLeft = 56, kTop = 10, kBottom = 36;
  static constexpr const char* kColours[] = {"#c2410c", "#1d4ed8", "#15803d", "#7c3aed"};
  const double span = std::max(1e-300, curves.high - curves.low);
  const auto y = [&](double value) {
    const double share = std::clamp((value - curves.low) / span, 0.0, 1.0);
    return kTop + (1 - share) * (kHeight - kTop - kBottom);
  };
  std::string out =
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" style=\"width:100%\">", kWidth, kHeight);
  for (int tick = 0; tick <= 4; ++tick) {
    const double value = curves.low + span * tick / 4;
    out += fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/><text "
        "x=\"{3}\" "
        "y=\"{4:.1f}\" font-size=\"11\" text-anchor=\"end\">{5:.4g}</text>",
        kLeft, kWidth, y(value), kLeft - 6, y(value) + 4, value);
  }
  for (size_t s = 0; s < curves.values.size(); ++s) {
    const auto& values = curves.values[s];
    const double step =
        values.size() > 1 ? (kWidth - kLeft - 8) / static_cast<double>(values.size() - 1) : 0;
    const char* colour = kColours[s % std::size(kColours)];
    out +=
        fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" points=\"", colour);
    for (size_t i = 0; i < values.size(); ++i) {
      out += fmt::format("{:.1f},{:.1f} ", kLeft + step * static_cast<double>(i), y(values[i]));
    }
    out += fmt::format(
        "\"><title>{0}</title></polyline><text x=\"{1}\" y=\"{2}\" font-size=\"12\" "
        "fill=\"{3}\">{0}</text>",
        escape_html(curves.names[s]), kLeft + 150 * static_cast<double>(s), kHeight - 4, colour);
  }
  return out + fmt::format(
                   "<text x=\"{}\" y=\"{}\" font-size=\"11\" text-anchor=\"end\">{}</text>"
                   "</svg>",
                   kWidth - 4, kHeight - 20, escape_html(curves.x_name));
}

std::string balance_html(const BalanceResult& result) {
  const Placement before = before_of(result);
  Curves curves;
  curves.names = {result.current ? "busiest rank, running" : "busiest rank, in order",
                  "busiest rank, planned", "lower bound"};
  curves.values.resize(3);
  curves.x_name = "layer";
  for (size_t l = 0; l < result.reports.size(); ++l) {
    const LayerReport old = report_plan(before.topology, before.layers[l].slot_to_expert,
                                        result.load[l], result.reports[l].lower_bound);
    curves.values[0].push_back(old.max_rank_load);
    curves.values[1].push_back(result.reports[l].max_rank_load);
    curves.values[2].push_back(result.reports[l].lower_bound);
    curves.high = std::max(curves.high, old.max_rank_load);
  }
  std::string body = "<p>" + escape_html(result.reason) + "</p>";
  // One scale for both, or the even map would look as dark as the busiest rank of the other.
  HeatMap old_map = heat_map(before, result.load),
          new_map = heat_map(result.placement, result.load);
  for (const HeatMap* map : {&old_map, &new_map}) {
    for (const auto& row : map->values) {
      for (const double v : row) old_map.darkest = std::max(old_map.darkest, v);
    }
  }
  new_map.darkest = old_map.darkest;
  body += "<h2>Load by rank, before</h2>" + html_heat_map(old_map);
  body += "<h2>Load by rank, planned</h2>" + html_heat_map(new_map);
  body += "<h2>The busiest rank of each layer, in tokens</h2>" + html_curves(curves);
  body += "<h2>Layers</h2>" + html_table(layer_table(result));
  if (!result.frontier.empty()) {
    body += "<h2>What a number of moves reaches</h2>" + html_table(frontier_table(result));
  }
  return html_page("Expert placement", body);
}

}  // namespace wingspan
