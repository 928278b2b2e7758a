// Continuous batching as a pure function of what was asked: which sequence runs on which rank,
// which of its rows go into the next step, and which KV blocks they use.
//
// Every rank runs the same scheduler on the same calls and so arrives at the same plans; there is
// no clock, no thread and no randomness here.
//
// The step: plan_step() admits what fits and says each rank's rows; the ranks compute; finish()
// ends the requests that stopped; commit() counts the rows. Before commit() a step may be planned
// again, with the same result. finish() and commit() may come in either order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"

namespace wingspan {

// All ≥ 1, and max_rows_per_rank ≥ prefill_chunk + max_sequences_per_rank: a step then has room for
// every sequence that decodes and a whole chunk of a prompt. Checked (WS_CHECK).
struct SchedulerLimits {
  int ranks = 1;
  int max_sequences_per_rank = 64;   // admitted at a time
  int64_t prefill_chunk = 512;       // tokens of one prompt in one step
  int64_t max_rows_per_rank = 1024;  // rows of one step
  int64_t kv_blocks_per_rank = 1;    // ≤ INT32_MAX
  int kv_block = 64;                 // positions of a block
  int64_t max_positions = 1;         // of one sequence, prompt and output
};

struct RequestShape {
  int64_t prompt_tokens = 0;   // ≥ 1
  int64_t max_new_tokens = 0;  // ≥ 0; 0: the prompt is only read
};

// Neighbouring rows of one sequence in a step.
struct StepItem {
  int request = 0;
  int64_t first_position = 0;
  int64_t rows = 0;    // ≥ 1
  bool emits = false;  // a token is sampled from the last of these rows
  bool operator==(const StepItem&) const = default;
};

// Sequences that decode come before those that read their prompts, each in the order of admission.
// A rank may have no items.
struct StepPlan {
  std::vector<std::vector<StepItem>> ranks;
  bool operator==(const StepPlan&) const = default;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // The request's index, counted from 0. At any time, also between plan_step and commit.
  // Error (kInvalidInput): an impossible shape, more positions than a sequence may have, or more KV
  // blocks than a rank has. Such a request gets no index.
  Expected<int> add(RequestShape shape);

  // Admits waiting requests in order, each to the rank that has most free KV blocks among those
  // with a free place (the lowest such rank), as long as all blocks that it may ever need are free
  // there; the first that doesn't fit holds back those behind it. Then fills `plan` with one row
  // for each sequence that decodes and chunks of prompts, oldest first, while there are rows left.
  // Unless all is done, at least one rank has rows. A plan that is used again is not reallocated.
  void plan_step(StepPlan& plan);

  // Counts the rows of the last plan. Items of requests that were finished meanwhile are ignored; a
  // request that has its max_new_tokens is finished here.
  void commit(const StepPlan& plan);

  // Ends a request, running or still waiting, and frees its blocks. Again: no effect.
  void finish(int request);

  bool done() const { return waiting() == 0 && running() == 0; }
  int waiting() const { return waiting_; }
  int running() const { return running_; }
  int requests() const { return static_cast<int>(sequences_.size()); }
  bool finished(int request) const;
  // The rank that a request was admitted to, −1 while it waits.
  int rank_of(int request) const;
  // Ids of the KV blocks on its rank, position p being in entry p / kv_block. Valid until the
  // request is finished; empty while it waits and afterwards.
  std::span<const int32_t> block_table(int request) const;
  int64_t free_blocks(int rank) const;

 private:
  enum class State : uint8_t { kWaiting, kRunning, kFinished };
  struct Sequence {
    RequestShape shape;
    State state = State::kWaiting;
    int rank = -1;
    int64_t position = 0;   // rows that count
    int64_t generated = 0;  // tokens that count
    std::vector<int32_t> blocks;
  };
  // Free blocks: those never used are `next_block` and up, those given back lie in a heap, all of
  // them below; so the lowest free id is the heap's least, else next_block.
  struct Rank {
    std::vector<int> running;         // requests in the order of admission
    std::vector<int32_t> given_back;  // min-heap
    int32_t next_block = 0;
  };

  int64_t blocks_for(RequestShape shape) const;
  int emptiest_rank() const;
  void admit();
  void admit_to(int rank, int request);
  void plan_rank(const Rank& rank, std::vector<StepItem>& items) const;
  void release(int request);

  SchedulerLimits limits_;
  std::vector<Sequence> sequences_;  // by request
  std::vector<Rank> ranks_;
  int next_waiting_ = 0;  // no request below waits
  int waiting_ = 0, running_ = 0;
};

}  // namespace wingspan
