// One expert-parallel decode group in a simulation: the real scheduler, with steps that take time.
#pragma once

#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "sched/scheduler.h"
#include "sim/simulate.h"

namespace wingspan {

class DecodeInstance {
 public:
  // Keeps references to both; they must outlive it.
  DecodeInstance(const DecodePool& pool, uint64_t seed, uint64_t stream);

  // False: the request never fits. `read`: its prompt costs no time.
  bool add(int request, const SimRequest& shape, bool read);
  // Plans the next step. Its time in seconds, < 0: there is nothing to do.
  double begin_step();
  struct Finished {
    std::vector<int> first_tokens, done;  // requests
  };
  // Commits the step; the lists are valid until the next call.
  const Finished& end_step();

  bool stepping() const { return stepping_; }
  int live() const { return scheduler_.running() + scheduler_.waiting() + held(); }
  // Sequences that run, over all ranks.
  int running() const { return scheduler_.running(); }

 private:
  struct Sequence {
    int request = 0;
    int64_t positions_before = 0;  // of the scheduler, when the first token is made
    int64_t steps = 0;             // that bring all its tokens
    double prompt = 0;             // real context then
    bool read = false;             // the prompt costs no time here
  };
  struct Held {
    int request = 0;
    SimRequest shape;
  };
  int held() const { return static_cast<int>(held_.size() - next_held_); }
  void submit(int request, const SimRequest& shape, bool read);
  int64_t steps_for(int64_t tokens);
  // Looks at every row of the plan once: how long it takes, what it will have finished.
  double look_at_plan();

  const DecodePool& pool_;
  bool stepping_ = false;
  Rng rng_;
  Scheduler scheduler_;
  StepPlan plan_;
  std::vector<Sequence> sequences_;  // by the scheduler's index
  std::vector<Held> held_;           // wait for a step at which prompts are read
  size_t next_held_ = 0;
  int64_t step_ = 0;
  Finished finished_;
};

}  // namespace wingspan
