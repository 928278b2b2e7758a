// Where the experts live: plain data, validated, in text form. No policy: eplb/ decides placements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/status.h"

namespace wingspan {

// Bounds on what a file or a flag may ask for, far above any real group.
inline constexpr int kMaxPlacementExperts = 1 << 20;
inline constexpr int kMaxPlacementRanks = 1 << 16;
inline constexpr int kMaxPlacementSlots = 1 << 24;  // of one layer, over all ranks

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
  // Whether rule 4 applies: experts come in groups, and each group lives on one node.
  bool grouped() const { return nodes > 1 && groups % nodes == 0; }
  // Bounds, slots ≥ experts, and the divisibility that rule 4 asks for; the error names the number.
  Status validate() const;
  bool operator==(const Topology&) const = default;
};

struct LayerPlacement {
  int layer = 0;                    // the model's layer number
  std::vector<int> slot_to_expert;  // rank-major, `slots` entries
};

// Numbers about a layer under a load, as docs/plan-format.md names them.
struct LayerReport {
  double max_rank_load = 0, mean_rank_load = 0, balancedness = 1, lower_bound = 0, gap = 0;
};

struct Placement {
  int64_t epoch = 0;
  std::string model;
  Topology topology;
  std::vector<LayerPlacement> layers;

  // The topology, rules 1 to 4 of docs/plan-format.md, and that no layer stands twice; the error
  // names layer, slot or rank, and rule.
  Status validate() const;
  // The layer's entry, or null.
  const LayerPlacement* find_layer(int layer) const;
};

// Slots of each rank when `slots` are spread as evenly as possible, the first ranks having one
// more.
std::vector<int> even_rank_slots(int slots, int ranks);

// The placements below have experts + redundant slots, spread by even_rank_slots over any ranks ≥
// 1, also more than experts (ranks beyond the slots have none). All obey rules 1 to 3, flat. They
// depend on their arguments alone; a layer's order on the seed and its layer number. Numbers of the
// user are to be checked before: experts ≥ 1, redundant ≥ 0 and the bounds above are CHECKed.

// Experts 0…E−1 in order over the ranks, as even as possible. A rank's redundant slots go on with
// the experts that follow its own (after E−1 comes 0), so that each rank repeats its neighbour's.
Placement contiguous_placement(int experts, const std::vector<int>& layers, int ranks,
                               int redundant = 0);
// The same with the experts renumbered by an order drawn from `seed`, per layer.
Placement shuffled_placement(int experts, const std::vector<int>& layers, int ranks, uint64_t seed,
                             int redundant = 0);
// Each redundant slot goes to an expert drawn at random, so some have many replicas and most have
// one; the replicas of an expert lie on as many ranks as there are, in random order.
Placement replicated_placement(int experts, const std::vector<int>& layers, int ranks,
                               int redundant, uint64_t seed);

// Reads a wingspan-placement file (docs/plan-format.md) and validates it. Types and ranges of the
// optional parts (reports, totals, migration, reason) are checked; their values are not kept.
Expected<Placement> read_placement(const Files& files, const std::string& path);
Expected<Placement> parse_placement(std::string_view text, const std::string& where);

// The file's text, one line a layer. `reason` must not be empty; `reports` are empty (no load is
// known: the numbers and totals are left out) or one a layer. `migration` is the JSON value of that
// key; empty means null.
std::string placement_to_json(const Placement& placement, const std::string& reason,
                              const std::vector<LayerReport>& reports = {},
                              const std::string& migration = "");
Status write_placement(const Files& files, const std::string& path, const Placement& placement,
                       const std::string& reason, const std::vector<LayerReport>& reports = {});

}  // namespace wingspan
