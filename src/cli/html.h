// Self-contained HTML pages with inline SVG: no script, no font, no link to anywhere.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "cli/table.h"

namespace wingspan {

std::string escape_html(const std::string& text);

// Puts `body` into a page that reads well from 400 to 1280 pixels.
std::string html_page(const std::string& title, const std::string& body);
std::string html_table(const Table& table);

// Values by row and column as colours from white (0) to dark (the largest); hovering tells a cell.
struct HeatMap {
  std::vector<std::string> rows;            // labels
  std::string columns;                      // what a column is, under the picture
  std::vector<std::vector<double>> values;  // [rows][columns]
  double darkest = 0;  // the value that is darkest, where maps are compared; 0: the largest
};
std::string html_heat_map(const HeatMap& map);

// One horizontal bar a row.
struct Bars {
  std::vector<std::string> labels;
  std::vector<double> values;
  std::vector<std::string> texts;  // written behind each bar
};
std::string html_bars(const Bars& bars);

}  // namespace wingspan
