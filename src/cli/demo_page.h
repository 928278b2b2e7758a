// What the demo found, as a table and as a page.
#pragma once

#include <string>
#include <vector>

#include "cli/html.h"
#include "cli/width_run.h"

namespace wingspan {

class DemoPage {
 public:
  explicit DemoPage(const SessionSetup& setup) : setup_(setup) {}
  void add_domain(const std::string& name, const std::string& prompt, const std::string& answer,
                  const Load& load);
  void add_width(const WidthRun& run, int batch, bool same_bits);
  const Table& table() const { return table_; }
  std::string html() const;

 private:
  struct Text {
    std::string domain, prompt, answer;
  };
  const SessionSetup& setup_;
  std::vector<Text> texts_;
  std::vector<std::pair<std::string, Load>> loads_;
  Table table_{{"EP", "experts/rank", "weights/rank", "tokens/expert", "step", "attention",
                "dispatch", "GroupGEMM", "combine", "balancedness", "bit-identical to one rank"}};
  Bars tokens_per_expert_;
};

}  // namespace wingspan
