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

// How far, relative to a plan from scratch, the largest rank cost may be.
struct ChangeLimits {
  double trigger = 0.04;    // up to here nothing is done
  double tolerance = 0.01;  // else steps go on down to here
  double fallback = 0.08;   // if they end above this, the relabelled plan itself is taken
};

// One layer's placement for a load that has changed.
std::vector<int> change_layer(const Topology& topology, std::span<const double> load,
                              std::span<const int> current, const ChangeLimits& limits = {});

}  // namespace wingspan
