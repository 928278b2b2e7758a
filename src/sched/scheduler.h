// Continuous batching as a pure function of what was asked: which sequence runs on which rank,
// which of its rows go into the next step, and which KV blocks they use.
//
// Every rank runs the same scheduler on the same calls and so arrives at the same plans; there is
// no clock, no thread and no randomness here.
//
// The step: plan_step() admits what fits and says each rank's rows; the ranks compute; append()
// brings the tokens that were made, finish() ends what ended; commit() counts the rows and gives
// back the blocks of what ended. Until commit(), plan_step() gives the same plan again. add() and
// cancel() may come at any time.
//
// Blocks: a sequence gets those of the tokens that it has to read when it is admitted, and one
// more whenever its next token needs it. If none is available then, the youngest sequence of the
// lowest priority on that rank is preempted: it gives back its blocks, waits at its old place in
// the queue, and later reads all its tokens again.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "sched/block_pool.h"

namespace wingspan {

// All ≥ 1 unless said otherwise. A step has room for every sequence that decodes and a whole chunk
// of a prompt: max_rows_per_rank ≥ prefill_chunk + max_sequences_per_rank · (1 + max_drafts).
// Checked (WS_CHECK).
struct SchedulerLimits {
  int ranks = 1;
  int max_sequences_per_rank = 64;   // running at a time
  int64_t prefill_chunk = 512;       // tokens of one prompt in one step
  int64_t max_rows_per_rank = 1024;  // rows of one step
  int64_t kv_blocks_per_rank = 1;    // ≤ INT32_MAX
  int kv_block = 64;                 // positions of a block
  int64_t max_positions = 1;         // of one sequence, prompt and output
  int max_drafts = 0;                // draft rows beside the row of a sequence that decodes; ≥ 0
  // Keeps tokens and looks prompts up. Without it tokens are only counted.
  bool prefix_cache = true;
  uint64_t cache_root = 0;  // hash of what else the KV depends on: the model, the numeric profile
};

struct SchedulerRequest {
  int64_t id = 0;                   // no id is used twice
  std::span<const int32_t> prompt;  // copied; may be empty without a prefix cache
  int64_t prompt_tokens = 0;        // ≥ 1
  int64_t max_new_tokens = 0;       // ≥ 0; 0: the prompt is only read
  int priority = 0;                 // lower runs first
  bool reads_all = false;           // every row of the prompt is wanted: nothing from the cache
  int64_t kv_tokens = 0;  // < prompt_tokens: first tokens whose KV comes with it (a hand-over)
};

// Neighbouring rows of one sequence in a step.
struct StepItem {
  int64_t id = 0;
  int slot = 0;  // a small number that is the sequence's own until it has ended
  int64_t first_position = 0;
  int64_t rows = 0;    // ≥ 1, the drafts included
  int draft_rows = 0;  // the last of them carry tokens that were only guessed
  bool reads = false;  // tokens of a prompt, or again those of a sequence that was preempted
  bool emits = false;  // tokens are sampled: one from each of the last 1 + draft_rows rows
  bool operator==(const StepItem&) const = default;
};

// Sequences that decode come before those that read, each by priority and arrival. A rank may have
// no items.
struct StepPlan {
  std::vector<std::vector<StepItem>> ranks;
  std::vector<int64_t> preempted;  // ids
  struct Started {
    int64_t id = 0;
    int rank = 0;
    int64_t cached_tokens = 0;  // found in the prefix cache
    bool operator==(const Started&) const = default;
  };
  std::vector<Started> started;  // admitted to this step
  int64_t rows() const;          // of all ranks
  uint64_t hash() const;         // equal plans have equal hashes
  bool operator==(const StepPlan&) const = default;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // Error (kInvalidInput): impossible numbers, an id that is live, more positions than a sequence
  // may have, or more KV blocks than a rank has. Such a request is forgotten.
  Status add(const SchedulerRequest& request);
  // The checks of add() that concern the request by itself.
  static Status check(const SchedulerLimits& limits, int64_t prompt_tokens, int64_t max_new_tokens);
  // Rows of prompts a rank may read in a step in which any sequence of the group decodes; 0: no
  // limit but max_rows_per_rank.
  void limit_prompt_rows(int64_t rows) { prompt_rows_ = rows; }
  // Draft rows of a sequence that decodes, ≤ max_drafts.
  void set_drafts(int drafts);

  // Valid until commit(). Unless all is done, at least one rank has rows. In a steady step nothing
  // is allocated.
  const StepPlan& plan_step();
  // A token after the sequence's last one. Only in a slot of the plan whose item emits.
  void append(int slot, int32_t token);
  // The sequence ends with the plan's commit. Without a token appended the rows of the plan count
  // no more, and what they wrote is not found again.
  void finish(int slot);
  // Counts the rows of the plan: of an item that emits, one more row than what was appended after
  // the first token. Gives back the blocks of what ended. CHECKs that each item that emits and did
  // not end has 1 to 1 + draft_rows tokens. Returns the ids that ended by having been read.
  const std::vector<int64_t>& commit();

  // Ends a request wherever it is; the rows of a plan at hand count no more. False: it is not live.
  bool cancel(int64_t id);

  bool done() const { return live_.empty(); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t running() const { return static_cast<int64_t>(live_.size() - waiting_.size()); }
  bool live(int64_t id) const { return live_.count(id) > 0; }
  int slot_of(int64_t id) const;  // −1: not live
  int64_t id_of(int slot) const { return at(slot).id; }
  int rank_of(int slot) const { return at(slot).rank; }
  // Prompt and output so far; with a prefix cache only.
  std::span<const int32_t> tokens(int slot) const { return at(slot).tokens; }
  int64_t length(int slot) const { return at(slot).length; }
  int64_t prompt_tokens(int slot) const { return at(slot).prompt; }
  int slots() const { return static_cast<int>(slots_.size()); }
  // Ids of the KV blocks on its rank, position p being in entry p / kv_block.
  std::span<const int32_t> block_table(int slot) const { return at(slot).blocks; }
  const BlockPool& pool(int rank) const { return ranks_[static_cast<size_t>(rank)].pool; }
  int64_t cache_queries() const { return cache_queries_; }  // tokens looked up
  int64_t cache_hits() const { return cache_hits_; }        // tokens found
  int64_t preemptions() const { return preemptions_; }

 private:
  enum class State : uint8_t { kFree, kWaiting, kRunning, kEnding };
  struct Sequence {
    int64_t id = 0;
    int64_t arrival = 0;
    int priority = 0;
    State state = State::kFree;
    bool reads_all = false;
    bool planned = false;  // has an item in the plan at hand
    bool emits = false;    // of that item
    int draft_rows = 0;    // of that item
    int rank = -1;
    int64_t prompt = 0, max_new = 0, kv_tokens = 0;
    int64_t length = 0;     // tokens, prompt and output
    int64_t position = 0;   // rows that count
    int64_t appended = 0;   // tokens since the plan
    int64_t published = 0;  // blocks in the cache
    std::vector<int32_t> tokens, blocks;
    std::vector<uint64_t> hashes;  // of full blocks, chained
    int64_t unread() const { return length - position; }
    bool decodes() const { return position >= prompt && unread() == 1; }
  };
  struct Rank {
    BlockPool pool;
    std::vector<int> running;  // slots, by priority and arrival
  };

  Sequence& at(int slot) { return slots_[static_cast<size_t>(slot)]; }
  const Sequence& at(int slot) const { return slots_[static_cast<size_t>(slot)]; }
  bool before(int a, int b) const;
  int64_t blocks_for(int64_t positions) const {
    return (positions + limits_.kv_block - 1) / limits_.kv_block;
  }
  void enqueue(int slot);
  void admit();
  int choose_rank(int slot, std::vector<int32_t>& best_match);
  void admit_to(int rank, int slot, std::span<const int32_t> cached);
  void hash_blocks(Sequence& s, int64_t blocks) const;
  int64_t work(const Rank& rank) const;
  int64_t soon_wanted(const Rank& rank) const;
  void plan_decoding(int rank);
  int drafts_with_room(Rank& r, int slot);
  void plan_item(int rank, const StepItem& item);
  void plan_reading(int rank, bool others_decode);
  void preempt(int slot);
  void leave_rank(int slot);
  void publish(int slot);
  void retire(int slot);

  SchedulerLimits limits_;
  std::vector<Sequence> slots_;
  std::vector<int> free_slots_;
  std::unordered_map<int64_t, int> live_;            // id -> slot
  std::set<std::tuple<int, int64_t, int>> waiting_;  // priority, arrival, slot
  std::vector<Rank> ranks_;
  StepPlan plan_;
  bool planned_ = false;
  int64_t arrivals_ = 0, prompt_rows_ = 0;
  int drafts_ = 0;
  int64_t cache_queries_ = 0, cache_hits_ = 0, preemptions_ = 0;
  std::vector<int32_t> match_;  // scratch
  std::vector<int64_t> read_;   // of commit()
};

}  // namespace wingspan
