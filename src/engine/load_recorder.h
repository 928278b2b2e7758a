// Counts the tokens that this rank's router sends to each expert, and sums windows over the ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/group.h"
#include "model/config.h"
#include "placement/load.h"

namespace wingspan {

class LoadRecorder {
 public:
  // window_steps 0: one window for the whole run.
  LoadRecorder(const ModelConfig& config, int64_t epoch, int64_t window_steps);

  // What is counted from here on belongs to one step; until end_step() it may begin again.
  void begin_step();
  void count(int moe_index, int64_t rows, int top_k, const int32_t* experts);
  std::span<const int64_t> step_counts() const { return step_; }
  // After each committed step; every rank calls it with the same step numbers. Ends a window when
  // it is due. Rank 0 holds the sums.
  Status end_step(Group& group, Channel* channel, int64_t step, int64_t rows);
  // Ends the last window.
  Status finish(Group& group, Channel* channel);

  const Load& load() const { return load_; }

 private:
  Status close_window(Group& group, Channel* channel);

  Load load_;
  int64_t epoch_, window_steps_;
  LoadWindow window_;
  // [layers · experts], then the tokens of this rank: of the step at hand, of the window.
  std::vector<int64_t> step_, counts_, sums_;
};

}  // namespace wingspan
