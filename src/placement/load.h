// Recorded expert loads: tokens routed to each expert, per layer, over windows of steps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "placement/placement.h"

namespace wingspan {

struct LoadWindow {
  int64_t first_step = 0, steps = 0, tokens = 0;
  int64_t epoch = 0;                       // of the placement under which it was recorded
  std::vector<std::vector<int64_t>> load;  // [layers][experts]
};

struct Load {
  std::string model;
  int experts = 0;
  std::vector<int> layers;  // the model's layer numbers
  std::vector<LoadWindow> windows;
};

// The wingspan-load file, or the short forms {"experts","load":[layers][E]} and [steps][layers][E]
// (docs/plan-format.md), which become one window, or one a step. Counts are whole numbers ≥ 0, read
// exactly; an expert's sum over the windows beyond int64 is an error.
Expected<Load> read_load(const Files& files, const std::string& path);
Expected<Load> parse_load(std::string_view text, const std::string& where);
// The wingspan-load file's text, one line a window.
std::string load_to_json(const Load& load);
Status write_load(const Files& files, const std::string& path, const Load& load);

// Sum over the windows: [layers][experts]. Error: a sum beyond int64.
Expected<std::vector<std::vector<int64_t>>> total_load(const Load& load);

// Tokens that each rank gets from one layer's expert loads; a replica carries load ÷ replicas.
std::vector<double> rank_loads(const Topology& topology, const LayerPlacement& layer,
                               const std::vector<int64_t>& expert_load);

// A layer's figures. The bound is the larger of the mean rank load and the least possible largest
// replica load with that many slots; it holds for every placement that obeys the rules.
LayerReport report_layer(const Topology& topology, const LayerPlacement& layer,
                         const std::vector<int64_t>& expert_load);

struct BalanceSummary {
  double balancedness = 1;                       // mean ÷ max of a layer, averaged over layers
  double max_rank_load = 0, mean_rank_load = 0;  // summed over layers
};
// Over the sum of all windows. The placement must have the load's layers and experts.
Expected<BalanceSummary> summarize_balance(const Placement& placement, const Load& load);

}  // namespace wingspan
