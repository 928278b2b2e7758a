// The first half of the search: what one group of a width can do, over every other choice.
#pragma once

#include <vector>

#include "plan/search.h"

namespace wingspan {

// One way to run one group.
struct GroupPoint {
  DecodeShape shape;
  double batch_per_gpu = 0;
  StepFigures figures;
  double requests_per_s = 0;  // of the group
};

struct GroupFrontier {
  int ep = 1;
  bool aggregated = false;
  // Of all ways that hold the ITL limit: those that no other beats in both ITL and rate, by
  // rising ITL (and so by rising rate).
  std::vector<GroupPoint> points;
};

struct FrontierReport {
  std::vector<GroupFrontier> frontiers;
  int64_t memory = 0, itl = 0;  // shapes left out because of it
  double least_itl_ms = 0;      // at the percentile, over all shapes that fit; 0: none fits
};

// `relax` multiplies the ITL limit.
FrontierReport group_frontiers(const ServingModel& model, const SearchSpace& space,
                               const SearchLimits& limits, double relax);

// ITL at the percentile of which z is the normal quantile: the step at that quantile of the
// occupancy of one attention rank.
double itl_quantile_ms(const ServingModel& model, const DecodeShape& shape, bool aggregated,
                       double batch_per_gpu, double z);
// Largest mean batch per GPU that leaves the headroom of the KV cache free and whose 99th
// percentile over the group still fits.
double usable_batch(const ServingModel& model, const DecodeShape& shape, bool aggregated,
                    double headroom);
// Requests a second of one group.
double group_rate(const DecodeShape& shape, double batch_per_gpu, double itl_ms, double osl);

}  // namespace wingspan
