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
    int64_t prompt = 0, output = 0;  // tokens
    int64_t made = 0;                // of the output
    bool handed_over = false;        // its KV came with it
  };
  struct Held {
    int request = 0;
    SimRequest shape;
  };
  int held() const { return static_cast<int>(held_.size() - next_held_); }
  void submit(int request, const SimRequest& shape, bool read);
  // How long the plan's step takes.
  double step_seconds(const StepPlan& plan) const;
  // Tokens of one sequence in one step, at most 1 + drafts.
  int64_t accepted(int drafts);

  const DecodePool& pool_;
  bool stepping_ = false;
  Rng rng_;
  Scheduler scheduler_;
  const StepPlan* plan_ = nullptr;
  std::vector<Sequence> sequences_;  // by the scheduler's id
  uint64_t bits_ = 0;                // drawn, not yet used
  int draws_ = 0;
  std::vector<Held> held_;  // wait for a step at which prompts are read
  size_t next_held_ = 0;
  int64_t step_ = 0;
  Finished finished_;
};

}  // namespace wingspan
