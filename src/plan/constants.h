// The constants of the formulas; data/plan_constants.csv holds each with unit, error and source.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "plan/table.h"

namespace wingspan {

struct PlanConstants {
#define WINGSPAN_PLAN_CONSTANT(name) double name = 0;
#include "plan/constants.inc"
#undef WINGSPAN_PLAN_CONSTANT
};

struct ConstantNote {
  std::string name, unit, error, source;
  double value = 0;
};

// Every constant once, no other name. Errors (kInvalidInput) name the line.
Expected<PlanConstants> parse_constants(const std::vector<TableRow>& rows,
                                        std::vector<ConstantNote>* notes = nullptr);

}  // namespace wingspan
