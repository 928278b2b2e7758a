#include "support/measure.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>

#include "base/cpus.h"

namespace wingspan::bench {
double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Options parse_options(int argc, char** argv, const char* about) {
  Options o;
  o.threads = available_cpus();
  CLI::App app(about);
  app.allow_extras();
  app.add_option("--json", o.json, "Append one JSON object a line to this file");
  app.add_option("--threads", o.threads, "Threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--rounds", o.rounds, "Rounds")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--kernel", o.kernel, "Kernel kind")->capture_default_str();
  app.add_option("--only", o.only, "Run what contains this text");
  app.add_flag("--quick", o.quick, "Fewer sizes");
  try {
    app.parse(argc, argv);
    for (const std::string& extra : app.remaining()) {
      if (extra.rfind("--benchmark_", 0) != 0) throw CLI::ExtrasError({extra});
    }
  } catch (const CLI::ParseError& e) {
    std::exit(app.exit(e) == 0 ? 0 : 2);
  }
  return o;
}

void report(const Options& options, const Record& r) {
  const auto [low, high] = std::minmax_element(r.values.begin(), r.values.end());
  std::string text = r.name;
  for (const auto& [key, value] : r.params.items())
    text += fmt::format(" {}={}", key, value.dump());
  fmt::print("{:<96} {} {:8.3f} ({:.3f} to {:.3f}) limit {:8.3f} ratio {:.2f}{}\n", text, r.metric,
             median(r.values), *low, *high, median(r.limits), median(r.ratios),
             r.target ? fmt::format(" target {:.2f}", *r.target) : "");
  std::fflush(stdout);
  if (options.json.empty()) return;
  const nlohmann::json line = {{"name", r.name},
                               {"params", r.params},
                               {"metric", r.metric},
                               {"value", median(r.values)},
                               {"min", *low},
                               {"max", *high},
                               {"limit", median(r.limits)},
                               {"ratio", median(r.ratios)},
                               {"target", r.target ? nlohmann::json(*r.target) : nlohmann::json()}};
  std::ofstream file(options.json, std::ios::app);
  file << line.dump() << "\n";
  if (!file) {
    fmt::print(stderr, "cannot write {}\n", options.json);
    std::exit(1);
  }
}

}  // namespace wingspan::bench
