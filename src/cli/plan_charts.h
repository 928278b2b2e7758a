// Pictures of the planner as self-contained SVG, legible from 360 pixels on: the Pareto front and
// stacked bars.
#pragma once

#include <string>
#include <vector>

namespace wingspan {

struct FrontChart {
  struct Point {
    double x = 0, y = 0;
    std::string label;    // shown on hovering
    int series = 0;       // index into `series`
    bool marked = false;  // drawn large, with its label
  };
  std::vector<Point> points;
  std::vector<std::string> series;  // names, for the legend
  std::string x_name, y_name;
};
// A complete <svg> element, which also stands alone as a file.
std::string svg_front(const FrontChart& chart);

struct StackedBars {
  std::vector<std::string> labels;          // of the bars
  std::vector<std::string> parts;           // names
  std::vector<std::vector<double>> values;  // [bars][parts], ≥ 0
  std::vector<std::string> texts;           // behind each bar
  std::string x_name;
};
std::string svg_stacked(const StackedBars& bars);

}  // namespace wingspan
