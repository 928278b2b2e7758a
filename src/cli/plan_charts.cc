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

// Names with their colours, as many in a line as there is room for; the height that they took.
double legend(const std::vector<std::string>& names, double top, std::string& out) {
  double x = 6, y = top + 10;
  for (size_t i = 0; i < names.size(); ++i) {
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
