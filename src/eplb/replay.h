// Balancing policies on a recorded series of loads: planned on the windows up to t, judged on t
// + 1.
#pragma once

#include <cstdint>
#include <vector>

#include "eplb/plan.h"

namespace wingspan {

enum class Policy {
  kKeep,         // the plan of the first window, for ever
  kResolve,      // a new plan for every window, put in place as it comes out
  kRelabel,      // the same, with ranks and slots relabelled so that least moves
  kIncremental,  // small changes (change_layer) for the forecast of the next window
};

struct ReplayResult {
  std::vector<double> balancedness;  // of windows 1, 2, …: mean over layers
  std::vector<int64_t> moved_slots;  // before each of them, over all layers; the first is 0
  double mean_balancedness = 1;
  int64_t moves = 0;
};

// `windows` is [windows][layers][experts], at least two.
ReplayResult replay(const Topology& topology, const std::vector<LoadMatrix>& windows,
                    Policy policy);

// One layer's placement for a load that has changed, within `tolerance` of a plan from scratch: by
// small steps, or, where they end further than `fallback` from it, the relabelled plan itself.
std::vector<int> change_layer(const Topology& topology, std::span<const double> load,
                              std::span<const int> current, double tolerance, double fallback);

}  // namespace wingspan
