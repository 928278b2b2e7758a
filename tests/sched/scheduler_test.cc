// The scheduler's promises under random calls: limits hold, nothing is lost, doubled or starved,
// plans repeat, and blocks are found again only where the tokens are the same.
#include "sched/scheduler.h"

#include <gtest/gtest.h>

#include "sched/simple_model.h"
#include "support/rounds.h"

namespace wingspan::test {
namespace {

TEST(Scheduler, RandomCallsMatchASimpleModel) {
  Seen seen;
  for (int seed = 0; seed < rounds(1500) && !HasFailure(); ++seed) {
    run_random(static_cast<uint64_t>(seed), 40, seen);
  }
  EXPECT_GT(seen.hits, 0);
  EXPECT_GT(seen.preemptions, 0);
}

TEST(Scheduler, WhatCanNeverFitIsRefusedWithNumbers) {
  SchedulerLimits l;
  l.prefill_chunk = 8;
  l.max_rows_per_rank = 80;
  l.kv_blocks_per_rank = 2;
  l.max_positions = 1000;
  EXPECT_FALSE(Scheduler::check(l, 0, 5));
  EXPECT_FALSE(Scheduler::check(l, 5, -1));
  const auto blocks = Scheduler::check(l, 100, 29);
  ASSERT_FALSE(blocks);
  EXPECT_NE(blocks.error().message().find("3 KV blocks"), std::string::npos);
  const auto positions = Scheduler::check(l, 900, 200);
  ASSERT_FALSE(positions);
  EXPECT_NE(positions.error().message().find("1000 positions"), std::string::npos);
  EXPECT_TRUE(Scheduler::check(l, 100, 28));
}

SchedulerLimits small_limits() {
  SchedulerLimits l;
  l.max_sequences_per_rank = 4;
  l.prefill_chunk = 10;
  l.max_rows_per_rank = 14;
  l.kv_blocks_per_rank = 100;
  l.kv_block = 4;
  l.max_positions = 300;
  return l;
}

void add(Scheduler& s, int64_t id, std::vector<int32_t> prompt, int64_t max_new, int priority = 0) {
  SchedulerRequest r;
  r.id = id;
  r.prompt = prompt;
  r.prompt_tokens = static_cast<int64_t>(prompt.size());
  r.max_new_tokens = max_new;
  r.priority = priority;
  ASSERT_TRUE(s.add(r));
}

// One step in which every item that emits gets a token.
StepPlan step(Scheduler& s) {
  const StepPlan plan = s.plan_step();
  for (const auto& items : plan.ranks) {
    for (const StepItem& item : items) {
      if (!item.emits) continue;
      s.append(item.slot, 7);
    }
  }
  s.commit();
  return plan;
}

TEST(Scheduler, DecodingGoesBeforePrompts) {
  Scheduler s(small_limits());
  add(s, 10, {1, 2, 3}, 5);
  step(s);
  add(s, 11, std::vector<int32_t>(25, 9), 5);
  const StepPlan plan = s.plan_step();
  ASSERT_EQ(plan.ranks[0].size(), 2U);
  EXPECT_EQ(plan.ranks[0][0], (StepItem{10, 0, 3, 1, 0, false, true}));
  EXPECT_EQ(plan.ranks[0][1], (StepItem{11, 1, 0, 10, 0, true, false}));
}

TEST(Scheduler, TheYoungestOfTheLowestPriorityIsPreemptedAndReadsAgain) {
  SchedulerLimits l = small_limits();
  l.kv_blocks_per_rank = 6;
  l.max_positions = 24;
  Scheduler s(l);
  add(s, 1, {1, 2, 3, 4, 5, 6, 7}, 12);
  add(s, 2, {8, 9, 10}, 12, 1);
  add(s, 3, {11, 12, 13}, 12);
  std::vector<int64_t> preempted;
  for (int i = 0; i < 60 && preempted.empty(); ++i) preempted = step(s).preempted;
  EXPECT_EQ(preempted, std::vector<int64_t>{2});
  EXPECT_EQ(s.preemptions(), 1);
  EXPECT_EQ(s.waiting(), 1);
}

TEST(Scheduler, APromptThatCameBeforeIsFoundUpToItsLastBlock) {
  Scheduler s(small_limits());
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5, 6, 7, 8};
  add(s, 1, prompt, 1);
  s.finish(s.plan_step().ranks[0][0].slot);  // ends in the step that reads it
  s.append(0, 5);
  s.commit();
  EXPECT_TRUE(s.done());
  add(s, 2, prompt, 1);
  // The last token is computed again, so of two full blocks one is used.
  ASSERT_EQ(s.plan_step().started.size(), 1U);
  EXPECT_EQ(s.plan_step().started[0].cached_tokens, 4);
  EXPECT_EQ(s.cache_hits(), 4);
  EXPECT_EQ(s.cache_queries(), 16);
}

TEST(Scheduler, RequestsThatComeTogetherAreSpreadOverTheRanks) {
  SchedulerLimits l = small_limits();
  l.ranks = 4;
  Scheduler s(l);
  for (int64_t id = 0; id < 8; ++id) add(s, id, {1, 2, 3, 4, 5}, 4);
  for (const auto& items : s.plan_step().ranks) EXPECT_EQ(items.size(), 2U);
}

TEST(Scheduler, AHandOverDecodesAtOnce) {
  Scheduler s(small_limits());
  SchedulerRequest r;
  r.id = 5;
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5};
  r.prompt = prompt;
  r.prompt_tokens = 5;
  r.max_new_tokens = 2;
  r.kv_tokens = 4;
  ASSERT_TRUE(s.add(r));
  EXPECT_EQ(s.plan_step().ranks[0][0], (StepItem{5, 0, 4, 1, 0, true, true}));
}

}  // namespace
}  // namespace wingspan::test
