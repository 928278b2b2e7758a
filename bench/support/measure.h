// What the benchmark programs share: samples beside probes of the same round, and records.
//
// A program takes `--json FILE` and appends one JSON object a line to it:
//   {"name", "params": {…}, "metric", "value", "min", "max", "limit", "ratio", "target"}
// value, min, max: median and extremes over the rounds, in the unit that the metric's name ends
// with; limit: what the probes allow, same unit; ratio: median of what was reached ÷ limit, 1 is
// best; target: the ratio aimed at, null where none is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace wingspan::bench {

double median(std::vector<double> values);

struct Record {
  std::string name;
  nlohmann::json params;
  std::string metric;
  std::vector<double> values;  // one a round
  std::vector<double> limits;
  std::vector<double> ratios;
  std::optional<double> target;
};

struct Options {
  std::string json;
  int threads = 0;
  int rounds = 5;
  std::string kernel = "auto";
  std::string only;  // run what contains this
  bool quick = false;
};
// Prints and exits on --help or an error. Ignores Google Benchmark's flags.
Options parse_options(int argc, char** argv, const char* about);

// Prints a line, and appends it to the file of --json.
void report(const Options& options, const Record& record);

}  // namespace wingspan::bench
