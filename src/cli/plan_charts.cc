#include "cli/plan_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/html.h"

namespace wingspan {
namespace {

// Distinct for colour-blind readers (Paul Tol's "bright" and "muted" sets).
constexpr const char* kColours[] = {"#4477aa", "#ee6677", "#228833", "#ccbb44",
                                    "#66ccee", "#aa3377", "#332288", "#999933",
                                    "#882255", "#44aa99", "#bbbbbb", "#ddcc77"};
const char* colour(size_t i) { return kColours[i % std::size(kColours)]; }

constexpr double kWidth = 400;

// 1, 2 or 5 times a power of ten, such that about `count` of them make `span`.
double nice_step(double span, int count) {
  const double raw = span / count, power = std::pow(10, std::floor(std::log10(raw)));
  const double digit = raw / power;
  return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

std::string tick_text(double value) {
  return value >= 10000 ? fmt::format("{:g}k", value / 1000) : fmt::format("{:g}", value);
}

std::string begin_svg(double height) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" "
      "style=\"max-width:760px;background:#fff\" font-family=\"system-ui,sans-serif\">\n"
      "<style>.c text{{font:10px system-ui,sans-serif;fill:#1c2330}}</style><g class=\"c\">\n",
      kWidth, height);
}

// Names (without the empty ones) with their colours, as many in a line as there is room for; the
// height that they took.
double legend(const std::vector<std::string>& names, double top, std::string& out) {
  double x = 6, y = top + 10;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) continue;
    const double width = 22 + 5.6 * static_cast<double>(names[i].size());
    if (x + width > kWidth) {
      x = 6;
      y += 14;
    }
    out += fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"9\" height=\"9\" fill=\"{}\"/><text x=\"{}\" "
        "y=\"{}\">{}</text>\n",
        x, y - 8, colour(i), x + 12, y, escape_html(names[i]));
    x += width;
  }
  return y + 6 - top;
}

}  // namespace

std::string svg_front(const FrontChart& chart) {
  constexpr double kLeft = 44, kRight = 12, kTop = 18, kPlot = 210;
  double x_max = 0, y_max = 0;
  for (const auto& p : chart.points) {
    x_max = std::max(x_max, p.x);
    y_max = std::max(y_max, p.y);
  }
  x_max = std::max(1e-9, x_max * 1.06);
  y_max = std::max(1e-9, y_max * 1.08);
  const auto x_at = [&](double x) { return kLeft + x / x_max * (kWidth - kLeft - kRight); };
  const auto y_at = [&](double y) { return kTop + (1 - y / y_max) * kPlot; };
  std::string body;
  for (double y = 0; y <= y_max; y += nice_step(y_max, 5)) {
    body += fmt::format(
        "<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#dde2ea\"/><text "
        "x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
        kLeft, kWidth - kRight, y_at(y), y_at(y), kLeft - 4, y_at(y) + 3.5, tick_text(y));
  }
  for (double x = 0; x <= x_max; x += nice_step(x_max, 6)) {
    body += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", x_at(x),
                        kTop + kPlot + 13, tick_text(x));
  }
  for (const bool marked : {false, true}) {
    for (const auto& p : chart.points) {
      if (p.marked != marked) continue;
      body += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"{}><title>{}</title></circle>\n",
          x_at(p.x), y_at(p.y), marked ? 5.5 : 3, colour(static_cast<size_t>(p.series)),
          marked ? " stroke=\"#1c2330\" stroke-width=\"1.6\"" : "", escape_html(p.label));
      if (!marked) continue;
      const bool left = x_at(p.x) > kWidth * 0.55;
      body += fmt::format(
          "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-weight=\"bold\">{}</text>\n",
          x_at(p.x) + (left ? -9 : 9), y_at(p.y) - 6, left ? "end" : "start", escape_html(p.label));
    }
  }
  body += fmt::format("<text x=\"{}\" y=\"11\">{}</text>\n", 4, escape_html(chart.y_name));
  body += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kWidth - kRight,
                      kTop + kPlot + 27, escape_html(chart.x_name));
  const double top = kTop + kPlot + 32;
  const double height = top + legend(chart.series, top, body);
  return begin_svg(height) + body + "</g></svg>\n";
}

namespace {

// A logarithmic axis of both directions, its ends a little beyond the data.
struct LogAxis {
  double low = 1, high = 10, begin = 0, length = 1;
  double at(double value) const {
    return begin + length * std::log(value / low) / std::log(high / low);
  }
};

LogAxis log_axis(const std::vector<ScatterChart::Point>& points, double begin, double length) {
  double low = 1e300, high = 0;
  for (const auto& p : points) {
    low = std::min({low, p.x, p.y});
    high = std::max({high, p.x, p.y});
  }
  if (high <= 0) low = 1, high = 10;
  return {low / 1.25, high * 1.25, begin, length};
}

// 1, 2 and 5 times the powers of ten on the axis.
std::vector<double> log_ticks(const LogAxis& axis) {
  std::vector<double> out;
  for (double power = std::pow(10, std::floor(std::log10(axis.low))); power < axis.high;
       power *= 10) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      if (digit * power >= axis.low && digit * power <= axis.high) out.push_back(digit * power);
    }
  }
  return out;
}

// The line of equality and the band around it; cut where it would leave the plot.
std::string equality(const LogAxis& axis, double band, double top) {
  const double end = axis.begin + axis.length, height = top + axis.length;
  const auto y_at = [&](double value) { return height - (axis.at(value) - axis.begin); };
  const double up = 1 + band;
  return fmt::format(
      "<polygon points=\"{0},{1} {0},{2:.1f} {3:.1f},{4} {5},{4} {5},{6:.1f} {7:.1f},{1}\" "
      "fill=\"#eef1f6\"/><line x1=\"{0}\" y1=\"{1}\" x2=\"{5}\" y2=\"{4}\" "
      "stroke=\"#8a94a6\"/>\n",
      axis.begin, height, y_at(axis.low * up), axis.at(axis.high / up), top, end,
      y_at(axis.high / up), axis.at(axis.low * up));
}

}  // namespace

std::string svg_scatter(const ScatterChart& chart) {
  constexpr double kLeft = 44, kTop = 18, kPlot = kWidth - kLeft - 12;
  const LogAxis axis = log_axis(chart.points, kLeft, kPlot);
  const auto y_at = [&](double value) { return kTop + kPlot - (axis.at(value) - kLeft); };
  std::string body = equality(axis, chart.band, kTop);
  for (const double tick : log_ticks(axis)) {
    body += fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#dde2ea\"/><text "
        "x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text><line x1=\"{6:.1f}\" "
        "x2=\"{6:.1f}\" y1=\"{7}\" y2=\"{8}\" stroke=\"#dde2ea\"/><text x=\"{6:.1f}\" y=\"{9}\" "
        "text-anchor=\"middle\">{5}</text>\n",
        kLeft, kLeft + kPlot, y_at(tick), kLeft - 4, y_at(tick) + 3.5, tick_text(tick),
        axis.at(tick), kTop, kTop + kPlot, kTop + kPlot + 13);
  }
  std::vector<std::string> names(chart.series.size());
  for (const auto& p : chart.points) {
    const auto series = static_cast<size_t>(p.series);
    names[series] = chart.series[series];
    body += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.6\" fill=\"{}\" fill-opacity=\"0.85\" "
        "stroke=\"#fff\" stroke-width=\"0.6\"><title>{}</title></circle>\n",
        axis.at(p.x), y_at(p.y), colour(series), escape_html(p.label));
  }
  body += fmt::format("<text x=\"4\" y=\"11\">{}</text>\n", escape_html(chart.y_name));
  body += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft + kPlot,
                      kTop + kPlot + 27, escape_html(chart.x_name));
  const double top = kTop + kPlot + 32;
  const double height = top + legend(names, top, body);
  return begin_svg(height) + body + "</g></svg>\n";
}

std::string svg_stacked(const StackedBars& bars) {
  constexpr double kLeft = 52, kText = 104, kRow = 20, kTop = 4;
  double most = 1e-300;
  for (const auto& row : bars.values) {
    double sum = 0;
    for (const double v : row) sum += v;
    most = std::max(most, sum);
  }
  const double scale = (kWidth - kLeft - kText) / most;
  std::string body;
  for (size_t b = 0; b < bars.labels.size(); ++b) {
    const double y = kTop + kRow * static_cast<double>(b);
    double x = kLeft;
    body += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft - 5,
                        y + 13, escape_html(bars.labels[b]));
    for (size_t p = 0; p < bars.parts.size(); ++p) {
      const double width = bars.values[b][p] * scale;
      if (width <= 0) continue;
      body += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\" fill=\"{}\"><title>{}: {}, "
          "{:.3g}</title></rect>\n",
          x, y + 2, width, kRow - 5, colour(p), escape_html(bars.labels[b]),
          escape_html(bars.parts[p]), bars.values[b][p]);
      x += width;
    }
    body += fmt::format("<text x=\"{:.1f}\" y=\"{}\">{}</text>\n", x + 5, y + 13,
                        escape_html(bars.texts[b]));
  }
  double top = kTop + kRow * static_cast<double>(bars.labels.size());
  body +=
      fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", kLeft, top + 11, escape_html(bars.x_name));
  top += 16;
  const double height = top + (bars.parts.size() > 1 ? legend(bars.parts, top, body) : 0);
  return begin_svg(height) + body + "</g></svg>\n";
}

}  // namespace wingspan
