// How predictions compare with measurements: errors by family, order within a family, coverage.
#pragma once

#include <string>
#include <vector>

#include "plan/gpu.h"
#include "plan/scenario.h"

namespace wingspan {

struct Comparison {
  std::string id, use, family, refusal;  // refusal: why there is no prediction
  bool is_itl = false;                   // milliseconds; else tokens/s/GPU
  double measured = 0, predicted = 0;
  double log_error = 0;  // ln(predicted ÷ measured) as throughput: > 0 is too fast
  bool inside_interval = false;
};

struct AccuracySummary {
  int rows = 0, pairs = 0, ordered = 0;
  double median = 0, p90 = 0, worst = 0;  // of |predicted ÷ measured − 1|
  double bias = 0;                        // mean log error
  double covered = 0;                     // share of rows inside their 80 % interval
};

// Like rows: phase, GPU generation, widths and dtypes that one set of kernels serves.
std::string accuracy_family(const PlanGpu& gpu, const PlanScenario& scenario);
std::vector<std::string> families_of(const std::vector<Comparison>& all, const std::string& use);
// Of the rows with this use and family (empty: all). A pair counts where the measurements of one
// family and metric differ by more than 3 %.
AccuracySummary summarize(const std::vector<Comparison>& all, const std::string& use,
                          const std::string& family);

}  // namespace wingspan
