// Pictures of the planner as self-contained SVG, legible from 360 pixels on: the Pareto front,
// stacked bars, and a scatter plot of predictions.
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

// What was predicted over what was measured, on logarithmic axes of one range.
struct ScatterChart {
  struct Point {
    double x = 0, y = 0;  // > 0
    std::string label;    // shown on hovering
    int series = 0;
  };
  std::vector<Point> points;
  std::vector<std::string> series;  // names; the legend has those with points
  std::string x_name, y_name;
  double band = 0;  // half the width of the band around x = y, as a share
};
std::string svg_scatter(const ScatterChart& chart);

struct StackedBars {
  std::vector<std::string> labels;          // of the bars
  std::vector<std::string> parts;           // names
  std::vector<std::vector<double>> values;  // [bars][parts], ≥ 0
  std::vector<std::string> texts;           // behind each bar
  std::string x_name;
};
std::string svg_stacked(const StackedBars& bars);

}  // namespace wingspan
