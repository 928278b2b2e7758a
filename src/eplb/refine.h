// Leaves the local optima in which descend() ends.
#pragma once

#include <cstdint>

#include "eplb/packing.h"

namespace wingspan {

// Up to `rounds` times: disturbs the packing at its busiest rank by a few random legal steps,
// descends again, and goes on from the result unless it is clearly worse. Leaves the best packing
// that was seen. Stops early at `target`. Random numbers come from `seed` alone.
void refine(Packing& packing, int filler, double target, int rounds, uint64_t seed);

}  // namespace wingspan
