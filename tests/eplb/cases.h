// Random instances and the recorded cases of tests/goldens/eplb.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/rng.h"
#include "eplb/plan.h"
#include "support/paths.h"

namespace wingspan::test {

inline Json read_golden(const std::string& path) {
  std::ifstream in(golden_path("eplb/" + path));
  return Json::parse(in);
}

inline LoadMatrix load_matrix(const Json& rows) {
  LoadMatrix out;
  for (const Json& row : rows) out.push_back(row.get<std::vector<double>>());
  return out;
}

struct Instance {
  Topology topology;
  std::vector<double> load;
};

// Loads of every kind: lognormal, equal, with zeros, one giant, few distinct values.
inline std::vector<double> random_load(Rng& rng, int experts) {
  std::vector<double> out(static_cast<size_t>(experts));
  const uint64_t kind = rng.below(6);
  for (double& l : out) {
    if (kind == 0) l = std::floor(100 * std::exp(1.1 * rng.normal()));
    if (kind == 1) l = 7;
    if (kind == 2) l = rng.below(2) == 0 ? 0 : static_cast<double>(rng.below(50));
    if (kind == 3) l = static_cast<double>(rng.below(4));
    if (kind == 4) l = std::ldexp(static_cast<double>(1 + rng.below(1 << 20)), 42);
    if (kind == 5) l = rng.uniform();
  }
  if (rng.below(4) == 0) out[rng.below(out.size())] *= 50;
  return out;
}

// `count` windows of the drifting trace, from `first` on: [windows][layers][experts].
inline std::vector<LoadMatrix> recorded_trace(size_t first, size_t count) {
  const Json all = read_golden("traces/domains.json")["load"];
  std::vector<LoadMatrix> out;
  for (size_t w = first; w < first + count; ++w) out.push_back(load_matrix(all[w]));
  return out;
}

// Flat or grouped, ranks of equal or different size.
inline Instance random_instance(Rng& rng, int most_experts, int most_ranks) {
  Instance out;
  Topology& t = out.topology;
  if (rng.below(3) == 0) {
    t.nodes = 2 + static_cast<int>(rng.below(2));
    const int per_node = 1 + static_cast<int>(rng.below(3));
    t.groups = t.nodes * per_node;
    const int group =
        1 +
        static_cast<int>(rng.below(static_cast<uint64_t>(std::max(1, most_experts / t.groups))));
    t.experts = t.groups * group;
    const int ranks = 1 + static_cast<int>(rng.below(3));
    const int least = (per_node * group + ranks - 1) / ranks;
    const int slots = least + static_cast<int>(rng.below(3));
    t.rank_slots.assign(static_cast<size_t>(t.nodes * ranks), slots);
  } else {
    t.experts = 1 + static_cast<int>(rng.below(static_cast<uint64_t>(most_experts)));
    const int ranks = 1 + static_cast<int>(rng.below(static_cast<uint64_t>(most_ranks)));
    const int slots = t.experts + static_cast<int>(rng.below(static_cast<uint64_t>(t.experts + 4)));
    t.rank_slots = even_rank_slots(slots, ranks);
    if (rng.below(3) == 0) {  // ranks of any size
      std::fill(t.rank_slots.begin(), t.rank_slots.end(), 0);
      for (int s = 0; s < slots; ++s) ++t.rank_slots[rng.below(t.rank_slots.size())];
    }
  }
  out.load = random_load(rng, t.experts);
  return out;
}

}  // namespace wingspan::test
