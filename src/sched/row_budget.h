// How many rows of prompts a step may read so that the sequences that decode beside them keep a
// limit of time between tokens. A pure function of what steps have cost.
#pragma once

#include <cstdint>

namespace wingspan {

class RowBudget {
 public:
  // `itl_target_s` 0: no limit. `max_rows`: the most that a rank reads in a step.
  RowBudget(double itl_target_s, int64_t max_rows);

  // A committed step: rows of prompts of the rank that read most, rows that decoded, and its time.
  void observe(int64_t prompt_rows, int64_t decode_rows, double seconds);
  // Rows of prompts for the next step, from 1 to max_rows; 0: no limit.
  int64_t rows() const;

 private:
  double target_s_;
  int64_t max_rows_;
  // Running means: a step that only decodes, and what a row of a prompt adds.
  double decode_s_ = 0, row_s_ = 0;
  bool decode_known_ = false, row_known_ = false;
};

}  // namespace wingspan
