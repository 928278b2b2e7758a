// Loading a checkpoint beside reading its bytes and copying them once.
#pragma once

#include <vector>

#include "cli/session.h"

namespace wingspan {

struct LoadSpeed {
  int64_t bytes = 0;                        // of the checkpoint's weight files
  std::vector<double> gb_per_s, read_copy;  // decimal, by round
};

// Each round reads all files in large pieces, copied once into fresh memory, then loads the model
// for one rank; both with all threads and from the page cache, since the first reading fills it.
Expected<LoadSpeed> measure_loading(const SessionSetup& setup, int rounds);

}  // namespace wingspan
