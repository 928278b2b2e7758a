// What `wingspan balance` does between reading its options and printing: from files to a plan.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eplb/decide.h"
#include "eplb/migration.h"
#include "eplb_files/formats.h"

namespace wingspan {

struct BalanceOptions {
  std::string load, format = "auto", current, objective = "tokens", windows = "sum", rank_slots;
  std::string model, output, output_format = "wingspan", html;
  int64_t ranks = 0, nodes = 1, groups = 1;
  std::optional<int64_t> slots, redundant, move_budget, expert_bytes;
  std::optional<double> top_k;
  MovePrice price;
  bool json = false;
};

struct LayerMoves {
  int layer = 0;
  std::vector<Move> moves;
};

struct BalanceResult {
  Placement placement;
  std::vector<LayerReport> reports;
  LoadMatrix load;
  std::string reason;
  // Only with a running placement.
  std::optional<Placement> current;
  std::vector<LayerReport> current_reports;
  std::vector<LayerMoves> moves;  // [layers]
  int64_t moved_slots = 0;
  std::vector<FrontierTotal> frontier;
  int64_t expert_bytes = 0;  // 0: unknown
};

// Number of slots, and the topology, that the options ask for; errors name the flag.
Expected<Topology> balance_topology(const BalanceOptions& options, int experts,
                                    const std::optional<RecordedPlacement>& current);
Expected<BalanceResult> run_balance(const BalanceOptions& options);

// The placement file's text, with the migration.
std::string balance_json(const BalanceResult& result);

}  // namespace wingspan
