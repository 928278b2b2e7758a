// GPUs by name, from data/hardware.csv (sources there).
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace wingspan {

struct Hardware {
  std::string name;
  double memory_gb = 0;  // HBM of one GPU, decimal
};

// All of the table. A row that is broken is left out (a test holds that none is).
const std::vector<Hardware>& known_hardware();
// By its name or the beginning of it, whatever the case: "h200", "GB200". Error (kInvalidInput):
// unknown or ambiguous; lists what there is.
Expected<Hardware> find_hardware(const std::string& name);

}  // namespace wingspan
