#include "cli/html.h"

#include <fmt/format.h>

#include <algorithm>

namespace wingspan {
namespace {

constexpr const char* kStyle = R"(
body{font:16px/1.5 system-ui,sans-serif;color:#1c2330;background:#fff;max-width:1180px;
margin:0 auto;padding:16px}
h1{font-size:1.6em;margin:.4em 0}h2{font-size:1.2em;margin:1.6em 0 .4em}
p{max-width:46em}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92em}
th,td{padding:4px 10px;text-align:right;border-bottom:1px solid #dde2ea;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
pre{background:#f4f6f9;padding:10px;white-space:pre-wrap;overflow-wrap:anywhere;border-radius:6px}
svg{width:100%;height:auto;display:block}svg text{font:12px system-ui,sans-serif;fill:#1c2330}
.note{color:#5a6577;font-size:.9em}
)";

// White to deep blue.
std::string colour(double share) {
  const double t = std::clamp(share, 0.0, 1.0);
  const auto mix = [&](double a, double b) { return static_cast<int>(a + (b - a) * t); };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(244, 8), mix(247, 48), mix(251, 107));
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string html_page(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<title>{0}</title><style>{1}</style></head>\n<body><h1>{0}</h1>\n{2}</body></html>\n",
      escape_html(title), kStyle, body);
}

std::string html_table(const Table& table) {
  std::string out = "<div class=\"scroll\"><table><tr>";
  for (const auto& cell : table.head()) out += "<th>" + escape_html(cell) + "</th>";
  out += "</tr>\n";
  for (const auto& row : table.rows()) {
    out += "<tr>";
    for (const auto& cell : row) out += "<td>" + escape_html(cell) + "</td>";
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::string html_heat_map(const HeatMap& map) {
  constexpr double kLeft = 150, kWidth = 1000, kRow = 22;
  double largest = map.darkest;
  for (const auto& row : map.values) {
    for (const double v : row) largest = std::max(largest, v);
  }
  const double height = kRow * static_cast<double>(map.rows.size()) + 24;
  std::string out = fmt::format(
      "<div class=\"scroll\"><svg viewBox=\"0 0 {} {}\" role=\"img\" style=\"min-width:640px\">\n",
      kLeft + kWidth, height);
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double y = kRow * static_cast<double>(r);
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft - 8,
                       y + kRow * 0.7, escape_html(map.rows[r]));
    const double cell = kWidth / static_cast<double>(std::max<size_t>(map.values[r].size(), 1));
    for (size_t c = 0; c < map.values[r].size(); ++c) {
      const double v = map.values[r][c];
      out += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" fill=\"{}\">"
          "<title>{} · {}: {:.4g}</title></rect>\n",
          kLeft + cell * static_cast<double>(c), y + 1, cell + 0.3, kRow - 2,
          colour(largest > 0 ? v / largest : 0), escape_html(map.rows[r]), c, v);
    }
  }
  out += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n</svg></div>\n", kLeft, height - 6,
                     escape_html(map.columns));
  return out;
}

std::string html_bars(const Bars& bars) {
  constexpr double kLeft = 90, kWidth = 230, kRow = 24;
  double largest = 0;
  for (const double v : bars.values) largest = std::max(largest, v);
  std::string out =
      fmt::format("<svg viewBox=\"0 0 640 {}\" role=\"img\" style=\"max-width:760px\">\n",
                  kRow * static_cast<double>(bars.labels.size()));
  for (size_t i = 0; i < bars.labels.size(); ++i) {
    const double y = kRow * static_cast<double>(i);
    const double w = largest > 0 ? bars.values[i] / largest * kWidth : 0;
    out += fmt::format(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>"
        "<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"#2f6fb5\"/>"
        "<text x=\"{:.1f}\" y=\"{}\">{}</text>\n",
        kLeft - 8, y + kRow * 0.68, escape_html(bars.labels[i]), kLeft, y + 3, w, kRow - 6,
        kLeft + w + 6, y + kRow * 0.68, escape_html(bars.texts[i]));
  }
  return out + "</svg>\n";
}

}  // namespace wingspan
