// What the planner needs to know of a GPU: a row of hardware.csv, or JSON with the same columns.
// SI units: flops/s, bytes, bytes/s (per direction).
#pragma once

#include <array>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "plan/table.h"

namespace wingspan {

struct PlanGpu {
  std::string name;
  double bf16 = 0, fp8 = 0, fp4 = 0;  // dense peaks; 0: the GPU has no such units
  double hbm_bytes = 0, hbm_bytes_per_s = 0;
  double scaleup_bytes_per_s = 0;  // usable, to all peers of the domain together
  double scaleup_nominal_bytes_per_s =
      0;                                // of the links; what an exchange reaches is a share of it
  double scaleup_pair_bytes_per_s = 0;  // full mesh: to one peer; 0: a switch
  double scaleup_domain = 1;            // GPUs
  double scaleout_bytes_per_s = 0;      // 0: no network between domains
  double exponentials_per_s = 0;        // of the special function units
  bool blackwell = false;           // generation with FP4 units: its streaming and launch shares
  double watts = 0, all_in_kw = 0;  // 0: not known
  double usd_hour = 0;              // 0: not known
  std::string price_column;         // that usd_hour stands in
  std::string derived;              // what was not given and taken from like GPUs, in words
};

Expected<PlanGpu> gpu_of_row(const TableRow& row);
// A JSON object with the columns of hardware.csv; unknown keys are an error.
Expected<PlanGpu> gpu_of_json(const Json& json, const std::string& where);

}  // namespace wingspan
