// The scheduler's promises under random requests: limits hold, nobody starves, plans repeat.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/rng.h"
#include "sched/scheduler.h"

namespace wingspan::test {
namespace {

SchedulerLimits random_limits(Rng& rng) {
  SchedulerLimits l;
  l.ranks = 1 + static_cast<int>(rng.below(6));
  l.max_sequences_per_rank = 1 + static_cast<int>(rng.below(5));
  l.prefill_chunk = 1 + static_cast<int64_t>(rng.below(40));
  l.max_rows_per_rank =
      l.prefill_chunk + l.max_sequences_per_rank + static_cast<int64_t>(rng.below(9));
  l.kv_block = 1 + static_cast<int>(rng.below(16));
  l.max_positions = 100;
  l.kv_blocks_per_rank = 100 / l.kv_block + 1 + static_cast<int64_t>(rng.below(20));
  return l;
}

struct Followed {
  RequestShape shape;
  int64_t rows = 0, tokens = 0;
};

// Checks one plan against the limits and what went before, and counts its rows.
void check_plan(const SchedulerLimits& l, const Scheduler& s, const StepPlan& plan,
                std::vector<Followed>& requests) {
  ASSERT_EQ(plan.ranks.size(), static_cast<size_t>(l.ranks));
  bool any = false;
  for (int rank = 0; rank < l.ranks; ++rank) {
    int64_t rows = 0;
    std::set<int32_t> blocks;
    size_t owned = 0;
    for (const StepItem& item : plan.ranks[static_cast<size_t>(rank)]) {
      Followed& f = requests[static_cast<size_t>(item.request)];
      EXPECT_EQ(s.rank_of(item.request), rank);
      EXPECT_EQ(item.first_position, f.rows);
      const bool prompt = f.rows < f.shape.prompt_tokens;
      EXPECT_LE(item.rows, prompt ? l.prefill_chunk : 1);
      EXPECT_GE(item.rows, 1);
      EXPECT_EQ(item.emits,
                f.rows + item.rows >= f.shape.prompt_tokens && f.shape.max_new_tokens > 0);
      const auto table = s.block_table(item.request);
      EXPECT_GE(static_cast<int64_t>(table.size()) * l.kv_block, f.rows + item.rows);
      for (const int32_t block : table) {
        EXPECT_GE(block, 0);
        EXPECT_LT(block, l.kv_blocks_per_rank);
        blocks.insert(block);
      }
      owned += table.size();
      rows += item.rows;
      f.rows += item.rows;
      f.tokens += item.emits;
    }
    EXPECT_EQ(blocks.size(), owned) << "a block has two owners";
    EXPECT_LE(rows, l.max_rows_per_rank);
    any |= rows > 0;
  }
  EXPECT_TRUE(any);
}

TEST(Scheduler, RandomRequestsAllFinishWithinTheLimits) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Rng rng(seed);
    const SchedulerLimits limits = random_limits(rng);
    Scheduler s(limits), twin(limits);
    std::vector<Followed> requests;
    StepPlan plan, again;
    int to_come = 1 + static_cast<int>(rng.below(30));
    for (int step = 0; to_come > 0 || !s.done(); ++step) {
      ASSERT_LT(step, 20000);
      while (to_come > 0 && (s.done() || rng.below(3) == 0)) {
        --to_come;
        const RequestShape shape{1 + static_cast<int64_t>(rng.below(60)),
                                 static_cast<int64_t>(rng.below(40))};
        const auto index = s.add(shape);
        ASSERT_TRUE(index) << index.error().message();
        ASSERT_TRUE(twin.add(shape));
        EXPECT_EQ(*index, static_cast<int>(requests.size()));
        requests.push_back({shape});
      }
      s.plan_step(plan);
      s.plan_step(again);
      EXPECT_EQ(plan, again);
      twin.plan_step(again);
      EXPECT_EQ(plan, again);
      check_plan(limits, s, plan, requests);
      if (rng.below(8) == 0) {
        const int victim = static_cast<int>(rng.below(requests.size()));
        s.finish(victim);
        twin.finish(victim);
      }
      s.commit(plan);
      twin.commit(plan);
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_TRUE(s.finished(static_cast<int>(i)));
      EXPECT_LE(requests[i].tokens, requests[i].shape.max_new_tokens);
    }
    for (int rank = 0; rank < limits.ranks; ++rank) {
      EXPECT_EQ(s.free_blocks(rank), limits.kv_blocks_per_rank);
    }
  }
}

TEST(Scheduler, WhatCanNeverFitIsRefusedWithNumbers) {
  SchedulerLimits l;
  l.prefill_chunk = 8;
  l.max_rows_per_rank = 80;
  l.kv_blocks_per_rank = 2;
  l.max_positions = 1000;
  Scheduler s(l);
  EXPECT_FALSE(s.add({0, 5}));
  EXPECT_FALSE(s.add({5, -1}));
  const auto blocks = s.add({100, 29});
  ASSERT_FALSE(blocks);
  EXPECT_NE(blocks.error().message().find("3 KV blocks"), std::string::npos);
  const auto positions = s.add({900, 200});
  ASSERT_FALSE(positions);
  EXPECT_NE(positions.error().message().find("1000 positions"), std::string::npos);
  EXPECT_TRUE(s.add({100, 28}));
}

TEST(Scheduler, DecodingGoesBeforePrompts) {
  SchedulerLimits l;
  l.max_sequences_per_rank = 4;
  l.prefill_chunk = 10;
  l.max_rows_per_rank = 14;
  l.kv_blocks_per_rank = 100;
  l.max_positions = 1000;
  Scheduler s(l);
  ASSERT_TRUE(s.add({3, 5}));
  StepPlan plan;
  s.plan_step(plan);
  s.commit(plan);
  ASSERT_TRUE(s.add({25, 5}));
  s.plan_step(plan);
  ASSERT_EQ(plan.ranks[0].size(), 2U);
  EXPECT_EQ(plan.ranks[0][0], (StepItem{0, 3, 1, true}));
  EXPECT_EQ(plan.ranks[0][1], (StepItem{1, 0, 10, false}));
}

}  // namespace
}  // namespace wingspan::test
