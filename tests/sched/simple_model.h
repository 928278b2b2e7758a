// A scheduler followed from outside by the simplest means, for random calls: what each sequence has
// to be, and what lies in each KV block.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/rng.h"
#include "sched/scheduler.h"

namespace wingspan::test {

inline SchedulerLimits random_limits(Rng& rng) {
  SchedulerLimits l;
  l.ranks = 1 + static_cast<int>(rng.below(6));
  l.max_sequences_per_rank = 1 + static_cast<int>(rng.below(5));
  l.prefill_chunk = 1 + static_cast<int64_t>(rng.below(40));
  l.max_drafts = static_cast<int>(rng.below(4));
  l.max_rows_per_rank = l.prefill_chunk + l.max_sequences_per_rank * (1 + l.max_drafts) +
                        static_cast<int64_t>(rng.below(9));
  l.kv_block = 1 + static_cast<int>(rng.below(16));
  l.max_positions = 100;
  l.kv_blocks_per_rank = 100 / l.kv_block + 1 + static_cast<int64_t>(rng.below(20));
  l.prefix_cache = rng.below(4) != 0;
  return l;
}

// The simple model: what a sequence has to be, followed from outside.
struct Followed {
  std::vector<int32_t> tokens;
  int64_t prompt = 0, max_new = 0;
  int priority = 0;
  int64_t arrival = 0;
  bool reads_all = false, ended = false, running = false;
  int64_t position = 0;  // rows that count
  int rank = -1;
  int64_t waited = 0;  // steps
};

class Model {
 public:
  explicit Model(const SchedulerLimits& limits, uint64_t seed)
      : l_(limits), rng_(seed, 1), s_(limits), twin_(limits), content_(Blocks()) {}

  void add() {
    Followed f;
    // Prompts share beginnings, so that the cache has something to find.
    const uint64_t family = rng_.below(3);
    f.prompt = 1 + static_cast<int64_t>(rng_.below(60));
    for (int64_t i = 0; i < f.prompt; ++i) {
      f.tokens.push_back(static_cast<int32_t>(rng_.below(12) == 0 ? rng_.below(50) : family));
    }
    f.max_new = static_cast<int64_t>(rng_.below(40));
    f.priority = static_cast<int>(rng_.below(3)) - 1;
    f.reads_all = rng_.below(5) == 0;
    f.arrival = arrivals_++;
    SchedulerRequest r;
    r.id = next_id_++;
    if (l_.prefix_cache) r.prompt = f.tokens;
    r.prompt_tokens = f.prompt;
    r.max_new_tokens = f.max_new;
    r.priority = f.priority;
    r.reads_all = f.reads_all;
    ASSERT_TRUE(s_.add(r));
    ASSERT_TRUE(twin_.add(r));
    EXPECT_FALSE(s_.add(r)) << "an id twice";
    live_.emplace(r.id, std::move(f));
  }

  void cancel_one() {
    if (live_.empty()) return;
    auto victim = live_.begin();
    std::advance(victim, static_cast<std::ptrdiff_t>(rng_.below(live_.size())));
    EXPECT_TRUE(s_.cancel(victim->first));
    EXPECT_TRUE(twin_.cancel(victim->first));
    EXPECT_FALSE(s_.cancel(victim->first)) << "twice";
    live_.erase(victim);
  }

  void step() {
    s_.limit_prompt_rows(limit_ = static_cast<int64_t>(rng_.below(3) == 0 ? rng_.below(20) : 0));
    twin_.limit_prompt_rows(limit_);
    const int drafts = static_cast<int>(rng_.below(static_cast<uint64_t>(l_.max_drafts) + 1));
    s_.set_drafts(drafts);
    twin_.set_drafts(drafts);
    const StepPlan plan = s_.plan_step();
    EXPECT_EQ(plan, s_.plan_step()) << "planned again";
    EXPECT_EQ(plan, twin_.plan_step()) << "by another rank";
    EXPECT_EQ(plan.hash(), twin_.plan_step().hash());
    start_and_preempt(plan);
    check_plan(plan);
    if (rng_.below(8) == 0) cancel_one();
    bring_tokens(plan);
    check_after_commit();
  }

  bool done() const { return live_.empty(); }
  const Scheduler& scheduler() const { return s_; }
  Rng& rng() { return rng_; }

 private:
  // By rank and block: the tokens of the whole sequence up to the block's end, written by rows.
  using Blocks = std::map<std::pair<int, int32_t>, std::vector<std::vector<int32_t>>>;

  void start_and_preempt(const StepPlan& plan) {
    for (const int64_t id : plan.preempted) {
      Followed& f = live_.at(id);
      EXPECT_TRUE(f.running);
      f.running = false;
      f.position = 0;
    }
    for (const StepPlan::Started& started : plan.started) {
      Followed& f = live_.at(started.id);
      EXPECT_FALSE(f.running);
      f.running = true;
      f.rank = started.rank;
      f.position = started.cached_tokens;
      f.waited = 0;
      EXPECT_EQ(f.rank, s_.rank_of(s_.slot_of(started.id)));
      EXPECT_LT(started.cached_tokens, static_cast<int64_t>(f.tokens.size()));
      if (f.reads_all || !l_.prefix_cache) {
        EXPECT_EQ(started.cached_tokens, 0);
      }
      check_cached(started.id, f);
    }
    // Nobody who waits is overtaken by one who came later with no better priority.
    for (const auto& [id, f] : live_) {
      if (f.running) continue;
      for (const StepPlan::Started& started : plan.started) {
        const Followed& other = live_.at(started.id);
        EXPECT_LT(std::make_pair(other.priority, other.arrival),
                  std::make_pair(f.priority, f.arrival));
      }
    }
  }

  // What lies in the blocks that were found is what this sequence would have written.
  void check_cached(int64_t id, const Followed& f) {
    const auto table = s_.block_table(s_.slot_of(id));
    for (int64_t b = 0; b < f.position / l_.kv_block; ++b) {
      const auto& rows = content_.at({f.rank, table[static_cast<size_t>(b)]});
      for (int64_t i = 0; i < l_.kv_block; ++i) {
        const int64_t position = b * l_.kv_block + i;
        const std::vector<int32_t> own(f.tokens.begin(), f.tokens.begin() + position + 1);
        EXPECT_EQ(rows[static_cast<size_t>(i)], own) << "request " << id;
      }
    }
  }

  void check_plan(const StepPlan& plan) {
    bool any = false, decodes = false;
    for (const auto& items : plan.ranks) {
      decodes |= std::any_of(items.begin(), items.end(), [](auto& i) { return !i.reads; });
    }
    std::map<int, std::map<int32_t, int64_t>> owners;
    for (int rank = 0; rank < l_.ranks; ++rank) {
      int64_t rows = 0, prompt_rows = 0;
      for (const StepItem& item : plan.ranks[static_cast<size_t>(rank)]) {
        check_item(rank, item);
        rows += item.rows;
        prompt_rows += item.reads ? item.rows : 0;
      }
      EXPECT_LE(rows, l_.max_rows_per_rank);
      if (decodes && limit_ > 0) {
        EXPECT_LE(prompt_rows, limit_);
      }
      any |= rows > 0;
    }
    EXPECT_EQ(any, !live_.empty());
  }

  void check_item(int rank, const StepItem& item) {
    Followed& f = live_.at(item.id);
    EXPECT_TRUE(f.running);
    EXPECT_EQ(f.rank, rank);
    EXPECT_EQ(item.first_position, f.position);
    const auto length = static_cast<int64_t>(f.tokens.size());
    EXPECT_LE(item.rows, item.reads ? l_.prefill_chunk : 1 + item.draft_rows);
    EXPECT_GE(item.rows, 1);
    const bool to_end = f.position + item.rows - item.draft_rows == length;
    EXPECT_EQ(item.emits, to_end && f.max_new > 0);
    EXPECT_LE(length - f.prompt + 1 + item.draft_rows, std::max<int64_t>(f.max_new, 1));
    // Rows go into blocks of its own: nobody else reads or writes them.
    const auto table = s_.block_table(item.slot);
    ASSERT_GE(static_cast<int64_t>(table.size()) * l_.kv_block, f.position + item.rows);
    for (int64_t i = 0; i < item.rows; ++i) {
      const int64_t position = f.position + i;
      // A draft is a guess that no sequence has.
      const bool draft = i >= item.rows - item.draft_rows;
      write_row(rank, table, position,
                draft ? std::vector<int32_t>{-1}
                      : std::vector<int32_t>(f.tokens.begin(), f.tokens.begin() + position + 1));
    }
  }

  void write_row(int rank, std::span<const int32_t> table, int64_t position,
                 std::vector<int32_t> tokens) {
    auto& rows = content_[{rank, table[static_cast<size_t>(position / l_.kv_block)]}];
    rows.resize(static_cast<size_t>(l_.kv_block));
    rows[static_cast<size_t>(position % l_.kv_block)] = std::move(tokens);
  }

  void bring_tokens(const StepPlan& plan) {
    std::vector<int64_t> ended;
    for (const auto& items : plan.ranks) {
      for (const StepItem& item : items) {
        const auto found = live_.find(item.id);
        if (found == live_.end()) continue;  // cancelled in the step
        Followed& f = found->second;
        if (!item.emits) {
          f.position += item.rows;
          if (f.max_new == 0 && f.position == f.prompt) ended.push_back(item.id);
          continue;
        }
        const auto accepted =
            1 + static_cast<int64_t>(rng_.below(static_cast<uint64_t>(item.draft_rows) + 1));
        for (int64_t i = 0; i < accepted; ++i) {
          const auto token = static_cast<int32_t>(rng_.below(3));
          f.tokens.push_back(token);
          s_.append(item.slot, token);
          twin_.append(item.slot, token);
        }
        // Drafts that were accepted have been the tokens that are there now.
        f.position = static_cast<int64_t>(f.tokens.size()) - 1;
        for (int64_t p = item.first_position + item.rows - item.draft_rows; p < f.position; ++p) {
          write_row(f.rank, s_.block_table(item.slot), p,
                    {f.tokens.begin(), f.tokens.begin() + p + 1});
        }
        const bool full = static_cast<int64_t>(f.tokens.size()) - f.prompt >= f.max_new;
        if (!full && rng_.below(20) != 0) continue;
        s_.finish(item.slot);
        twin_.finish(item.slot);
        live_.erase(found);
      }
    }
    EXPECT_EQ(s_.commit(), ended);
    twin_.commit();
    for (const int64_t id : ended) live_.erase(id);
  }

  void check_after_commit() {
    EXPECT_EQ(s_.running() + s_.waiting(), static_cast<int64_t>(live_.size()));
    // Blocks that sequences hold are all that is held; shared ones are equal up to there.
    std::vector<std::map<int32_t, int64_t>> holders(static_cast<size_t>(l_.ranks));
    for (const auto& [id, f] : live_) {
      EXPECT_TRUE(s_.live(id));
      if (!f.running) continue;
      const auto table = s_.block_table(s_.slot_of(id));
      for (size_t b = 0; b < table.size(); ++b) {
        const auto [place, first] = holders[static_cast<size_t>(f.rank)].emplace(table[b], id);
        const bool full = static_cast<int64_t>(b + 1) * l_.kv_block <= f.position;
        if (first) continue;
        EXPECT_TRUE(full) << "a block that is being written has two owners";
        const Followed& other = live_.at(place->second);
        EXPECT_TRUE(std::equal(f.tokens.begin(),
                               f.tokens.begin() + static_cast<int64_t>(b + 1) * l_.kv_block,
                               other.tokens.begin()));
      }
    }
    for (int rank = 0; rank < l_.ranks; ++rank) {
      EXPECT_EQ(s_.pool(rank).held(),
                static_cast<int64_t>(holders[static_cast<size_t>(rank)].size()));
    }
  }

  SchedulerLimits l_;
  Rng rng_;
  Scheduler s_, twin_;
  std::map<int64_t, Followed> live_;
  Blocks content_;
  int64_t next_id_ = 0, arrivals_ = 0, limit_ = 0;
};

// What a run of random calls came to, so that a test can see that it saw everything.
struct Seen {
  int64_t operations = 0, hits = 0, preemptions = 0;
};

// Random calls from one seed until all requests have ended, or a check failed.
inline void run_random(uint64_t seed, int requests, Seen& seen) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Rng rng(seed);
  Model model(random_limits(rng), seed);
  int to_come = 1 + static_cast<int>(rng.below(static_cast<uint64_t>(requests)));
  for (int step = 0; to_come > 0 || !model.done(); ++step) {
    ASSERT_LT(step, 200000) << "starved";
    while (to_come > 0 && (model.done() || rng.below(3) == 0)) {
      --to_come;
      ++seen.operations;
      model.add();
    }
    model.step();
    ++seen.operations;
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_TRUE(model.scheduler().done());
  seen.hits += model.scheduler().cache_hits();
  seen.preemptions += model.scheduler().preemptions();
}

}  // namespace wingspan::test
