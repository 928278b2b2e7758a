// Where the experts live: plain data, validated, in text form. No policy: eplb/ decides placements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/status.h"

namespace wingspan {

// The ranks and slots of a group; the same for every layer.
struct Topology {
  int experts = 0;
  int nodes = 1;
  int groups = 1;
  std::vector<int> rank_slots;  // slots of each rank; its size is the number of ranks

  int ranks() const { return static_cast<int>(rank_slots.size()); }
  int slots() const;
  // The first slot of a rank; rank == ranks() gives slots().
  int first_slot(int rank) const;
  int rank_of_slot(int slot) const;
  bool operator==(const Topology&) const = default;
};

struct LayerPlacement {
  int layer = 0;                    // the model's layer number
  std::vector<int> slot_to_expert;  // rank-major, `slots` entries
};

// Numbers about a layer under a load, as plan_format.md names them.
struct LayerReport {
  double max_rank_load = 0, mean_rank_load = 0, balancedness = 1, lower_bound = 0, gap = 0;
};

struct Placement {
  int64_t epoch = 0;
  std::string model;
  Topology topology;
  std::vector<LayerPlacement> layers;

  // Rules 1 to 4 of docs/plan-format.md; the error names layer, slot and rule.
  Status validate() const;
  // The layer's entry, or null.
  const LayerPlacement* find_layer(int layer) const;
};

// Slots of each rank when `slots` are spread as evenly as possible, the first ranks having one more.
std::vector<int> even_rank_slots(int slots, int ranks);

// Experts 0…E−1 in order over the ranks, as even as possible; `redundant` extra slots repeat the
// experts 0, 1, … on other ranks. Any ranks ≥ 1, also more than experts (such ranks have no slot).
Placement contiguous_placement(int experts, const std::vector<int>& layers, int ranks,
                               int redundant = 0);
// The same experts in an order drawn from `seed`, per layer.
Placement shuffled_placement(int experts, const std::vector<int>& layers, int ranks, uint64_t seed,
                             int redundant = 0);

// Reads a wingspan-placement file (docs/plan-format.md) and validates it.
Expected<Placement> read_placement(const Files& files, const std::string& path);
Expected<Placement> parse_placement(std::string_view text, const std::string& where);

}  // namespace wingspan
