// Whether, and how far, to go from a running placement to a better one. "Keep" is an answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eplb/incremental.h"
#include "eplb/plan.h"

namespace wingspan {

// What a moved slot costs and what a lower rank load is worth, in seconds.
//
// Cost: a layer's moves run over all ranks at once, so the rank that receives most decides:
// slots it receives × expert_bytes ÷ link. Gain: the busiest rank of a layer computes fewer rows in
// every step of the horizon; a row through an expert takes 2 × its weights in floating-point
// operations, with one byte a weight: 2 × expert_bytes ÷ rank_tflops. Rows of a step: step_tokens ×
// top_k, spread over experts as in the recorded load.
struct MovePrice {
  int64_t expert_bytes = 0;  // 0: unknown
  double link_gb_s = 50;     // of one rank, 10⁹ bytes a second
  double step_tokens = 4096;
  double top_k = 8;
  double horizon_steps = 1000;
  double rank_tflops = 200;  // reached, not peak
};

struct ChangeOptions {
  PlanOptions plan;
  // At most so many slots over all layers; nullopt: weigh them.
  std::optional<int64_t> move_budget;
  MovePrice price;
};

// Mean balancedness where each layer may change so many slots.
struct FrontierTotal {
  int moves_per_layer = 0;
  double balancedness = 1;
};

struct Change {
  std::vector<std::vector<int>> slot_to_expert;  // [layers][slots]
  int64_t moved_slots = 0;
  std::vector<FrontierTotal> frontier;
  std::string reason;
};

// `resolved` are plans of the same load from scratch, `current` the running placement: rules 1, 2
// and the shapes hold for it; a layer that breaks rule 3 or 4 is always replaced. Nullopt: the
// budget does not allow that.
std::optional<Change> choose_change(const Topology& topology, const LoadMatrix& load,
                                    const std::vector<std::vector<int>>& current,
                                    const std::vector<LayerPlan>& resolved,
                                    const ChangeOptions& options);

}  // namespace wingspan
