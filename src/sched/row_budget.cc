#include "sched/row_budget.h"

#include <algorithm>
#include <cmath>

namespace wingspan {
namespace {

constexpr double kWeight = 0.1;  // of the newest step in a running mean
// Rows before the cost of one is known: few enough that no step surprises.
constexpr int64_t kFirstRows = 64;

void mean(double& value, bool& known, double sample) {
  value = known ? value + kWeight * (sample - value) : sample;
  known = true;
}

}  // namespace

RowBudget::RowBudget(double itl_target_s, int64_t max_rows)
    : target_s_(itl_target_s), max_rows_(max_rows) {}

void RowBudget::observe(int64_t prompt_rows, int64_t decode_rows, double seconds) {
  if (prompt_rows == 0 && decode_rows > 0) mean(decode_s_, decode_known_, seconds);
  if (prompt_rows <= 0) return;
  const double rest = std::max(0.0, seconds - (decode_rows > 0 ? decode_s_ : 0));
  mean(row_s_, row_known_, rest / static_cast<double>(prompt_rows));
}

int64_t RowBudget::rows() const {
  if (target_s_ <= 0) return 0;
  if (!row_known_ || row_s_ <= 0) return std::min(kFirstRows, max_rows_);
  const double left = target_s_ - decode_s_;
  return std::clamp<int64_t>(static_cast<int64_t>(left / row_s_), 1, max_rows_);
}

}  // namespace wingspan
