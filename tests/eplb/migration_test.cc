#include "eplb/migration.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "cases.h"
#include "eplb/decide.h"
#include "eplb/group_split.h"
#include "support/rounds.h"

namespace wingspan {
namespace {

bool obeys_rules(const Topology& t, const std::vector<int>& slots) {
  Placement placement;
  placement.topology = t;
  placement.layers.push_back({0, slots});
  return placement.validate().has_value();
}

double largest(const Topology& t, const std::vector<int>& slots, const std::vector<double>& load) {
  const auto costs = rank_costs(t, slots, ShareModel(load));
  return *std::max_element(costs.begin(), costs.end());
}

std::vector<int> fast_plan(const Topology& t, const std::vector<double>& load) {
  PlanOptions options;
  options.effort = Effort::fast();
  return plan_layer(t, load, options).slot_to_expert;
}

// Executes moves as docs/plan-format.md says, and checks what it promises at each point.
void execute(const Topology& t, const std::vector<int>& from, const std::vector<int>& to,
             const std::vector<Move>& moves) {
  std::vector<int> now = from;
  std::set<int> written;
  for (size_t i = 0; i < moves.size();) {
    size_t end = i + 1;
    while (moves[i].batch >= 0 && end < moves.size() && moves[end].batch == moves[i].batch) ++end;
    for (size_t m = i; m < end; ++m) {
      const int first = t.first_slot(moves[m].source_rank);
      const auto begin = now.begin() + first;
      const auto source_end = now.begin() + t.first_slot(moves[m].source_rank + 1);
      ASSERT_NE(std::find(begin, source_end, moves[m].expert), source_end) << "source is not alive";
      ASSERT_TRUE(written.insert(moves[m].slot).second) << "slot " << moves[m].slot << " twice";
    }
    for (size_t m = i; m < end; ++m) now[static_cast<size_t>(moves[m].slot)] = moves[m].expert;
    const std::set<int> alive(now.begin(), now.end());
    ASSERT_EQ(alive.size(), static_cast<size_t>(t.experts)) << "an expert was lost";
    i = end;
  }
  ASSERT_EQ(now, to);
  ASSERT_EQ(written.size(), static_cast<size_t>(count_moves(from, to)));
}

TEST(Migration, MovesAreExecutableInOrder) {
  int batches = 0;
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed, 11);
    const auto instance = test::random_instance(rng, 24, 9);
    const Topology& t = instance.topology;
    const auto from = fast_plan(t, instance.load);
    const auto to = fast_plan(t, test::random_load(rng, t.experts));
    const auto near = relabel(t, from, to);
    ASSERT_TRUE(obeys_rules(t, near));
    ASSERT_LE(count_moves(from, near), count_moves(from, to));
    ASSERT_NEAR(largest(t, near, instance.load), largest(t, to, instance.load),
                1e-9 * largest(t, to, instance.load));
    for (const auto& target : {to, near}) {
      const auto moves = order_moves(t, from, target, 0);
      for (const Move& move : moves) batches += move.batch >= 0;
      execute(t, from, target, moves);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(batches, 100);  // exchanges without a spare replica did occur
}

TEST(Migration, AnExchangeOfLastReplicasIsOneBatch) {
  const Topology t{2, 1, 1, {1, 1}};
  const auto moves = order_moves(t, std::vector<int>{0, 1}, std::vector<int>{1, 0}, 5);
  ASSERT_EQ(moves.size(), 2U);
  EXPECT_EQ(moves[0].batch, 5);
  EXPECT_EQ(moves[1].batch, 5);
  EXPECT_EQ(moves[0].source_rank + moves[1].source_rank, 1);
}

TEST(Frontier, EachPointObeysTheRulesAndTellsItsMovesAndCost) {
  size_t points_seen = 0;
  for (int seed = 0; seed < test::rounds(800); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed, 12);
    const auto instance = test::random_instance(rng, 24, 9);
    const Topology& t = instance.topology;
    const auto from = fast_plan(t, instance.load);
    const auto load = test::random_load(rng, t.experts);
    FrontierOptions options;
    if (rng.below(2) == 0) options.most_moves = static_cast<int>(rng.below(6));
    const auto points = layer_frontier(t, load, from, options);
    ASSERT_EQ(points.front().moves, 0);
    ASSERT_EQ(points.front().slot_to_expert, from);
    for (size_t p = 0; p < points.size(); ++p) {
      ASSERT_TRUE(obeys_rules(t, points[p].slot_to_expert)) << "point " << p;
      ASSERT_EQ(points[p].moves, count_moves(from, points[p].slot_to_expert));
      ASSERT_LE(points[p].moves, options.most_moves);
      const double cost = largest(t, points[p].slot_to_expert, load);
      ASSERT_NEAR(points[p].cost, cost, 1e-9 * cost);
      if (p == 0) continue;
      ASSERT_LT(points[p].cost, points[p - 1].cost);
      ASSERT_GT(points[p].moves, points[p - 1].moves);
    }
    points_seen += points.size();
  }
  EXPECT_GT(points_seen, static_cast<size_t>(test::rounds(1600)));
}

TEST(Change, KeepsWithinTheBudgetAndMoreMovesAreNeverWorse) {
  for (int seed = 0; seed < test::rounds(150); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed, 13);
    const auto instance = test::random_instance(rng, 24, 9);
    const Topology& t = instance.topology;
    LoadMatrix before{instance.load, test::random_load(rng, t.experts)}, load;
    for (size_t l = 0; l < before.size(); ++l) load.push_back(test::random_load(rng, t.experts));
    ChangeOptions options;
    options.plan.effort = Effort::fast();
    std::vector<std::vector<int>> current;
    for (const auto& row : before) current.push_back(fast_plan(t, row));
    const auto resolved = plan_layers(t, load, options.plan);
    double last = -1;
    for (const int64_t budget : {0, 1, 2, 4, 8, 1000}) {
      options.move_budget = budget;
      const auto change = choose_change(t, load, current, resolved, options);
      ASSERT_TRUE(change);
      int64_t moved = 0;
      double cost = 0;
      for (size_t l = 0; l < load.size(); ++l) {
        ASSERT_TRUE(obeys_rules(t, change->slot_to_expert[l]));
        moved += count_moves(current[l], change->slot_to_expert[l]);
        cost += largest(t, change->slot_to_expert[l], load[l]);
      }
      ASSERT_EQ(moved, change->moved_slots);
      ASSERT_LE(moved, budget);
      ASSERT_FALSE(change->reason.empty());
      if (last >= 0) {
        ASSERT_LE(cost, last * (1 + 1e-9)) << "budget " << budget;
      }
      last = cost;
    }
  }
}

// Against all placements that differ in at most one slot.
TEST(Frontier, OneMoveIsTheBestOneMove) {
  int improved = 0;
  for (int seed = 0; seed < test::rounds(1000); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed, 15);
    const auto instance = test::random_instance(rng, 16, 6);
    const Topology& t = instance.topology;
    const auto from = fast_plan(t, instance.load);
    const auto load = test::random_load(rng, t.experts);
    const double unchanged = largest(t, from, load);
    double best = unchanged;
    for (size_t s = 0; s < from.size(); ++s) {
      for (int e = 0; e < t.experts; ++e) {
        auto slots = from;
        slots[s] = e;
        if (obeys_rules(t, slots)) best = std::min(best, largest(t, slots, load));
      }
    }
    FrontierOptions options;
    options.thorough = true;
    double reached = std::numeric_limits<double>::infinity();
    for (const FrontierPoint& p : layer_frontier(t, load, from, options)) {
      if (p.moves <= 1) reached = std::min(reached, p.cost);
    }
    ASSERT_LE(reached, best * (1 + 1e-9)) << "unchanged " << unchanged;
    improved += best < unchanged * (1 - 1e-9) ? 1 : 0;
  }
  EXPECT_GT(improved, test::rounds(250));
}

// The least cost of placements that differ in at most `moves` slots, all from `slot` on.
double least_cost(const Topology& t, const std::vector<double>& load, std::vector<int>& slots,
                  size_t slot, int moves) {
  double best =
      obeys_rules(t, slots) ? largest(t, slots, load) : std::numeric_limits<double>::infinity();
  for (size_t s = slot; s < slots.size() && moves > 0; ++s) {
    const int old = slots[s];
    for (int e = 0; e < t.experts; ++e) {
      if (e == old) continue;
      slots[s] = e;
      best = std::min(best, least_cost(t, load, slots, s + 1, moves - 1));
    }
    slots[s] = old;
  }
  return best;
}

// Against all placements that differ in at most so many slots.
TEST(Frontier, FewMovesOfSmallPoolsAreTheBest) {
  int64_t compared = 0, improved = 0;
  for (int seed = 0; seed < test::rounds(800); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed, 16);
    const auto instance = test::random_instance(rng, 8, 4);
    const Topology& t = instance.topology;
    if (t.grouped()) continue;
    auto from = fast_plan(t, instance.load);
    const auto load = test::random_load(rng, t.experts);
    FrontierOptions options;
    options.thorough = true;
    int proven = 0;
    const auto points = layer_frontier(t, load, from, options, &proven);
    ASSERT_GE(proven, 1);
    for (int moves = 1; moves <= std::min(proven, seed % 4 == 0 ? 3 : 2); ++moves) {
      double reached = std::numeric_limits<double>::infinity();
      for (const FrontierPoint& p : points) {
        if (p.moves <= moves) reached = std::min(reached, p.cost);
      }
      const double best = least_cost(t, load, from, 0, moves);
      ASSERT_NEAR(reached, best, 1e-9 * best) << moves << " moves";
      ++compared;
      improved += moves > 1 && best < points[0].cost * (1 - 1e-9) ? 1 : 0;
    }
  }
  EXPECT_GT(compared, test::rounds(600));
  EXPECT_GT(improved, test::rounds(200));
}

TEST(Change, ABudgetSaysWhenItIsTheBest) {
  const Topology t{6, 1, 1, {2, 2, 2}};
  const LoadMatrix load{{50, 40, 30, 20, 10, 5}};
  const std::vector<std::vector<int>> current{{0, 1, 2, 3, 4, 5}};
  ChangeOptions options;
  options.move_budget = 2;
  const auto change = choose_change(t, load, current, plan_layers(t, load, {}), options);
  ASSERT_TRUE(change);
  EXPECT_EQ(change->moved_slots, 2);
  EXPECT_NE(change->reason.find("the best of all changes of at most 2 slots"), std::string::npos)
      << change->reason;
}

TEST(Change, WhatMovesMustPay) {
  const Topology t{4, 1, 1, {3, 3}};
  const LoadMatrix load{{60, 10, 10, 40}};
  const std::vector<std::vector<int>> current{{0, 1, 2, 0, 2, 3}};
  ChangeOptions options;
  options.price.expert_bytes = 1'000'000;
  const auto resolved = plan_layers(t, load, {});
  options.price.horizon_steps = 1e9;
  const auto long_lived = choose_change(t, load, current, resolved, options);
  ASSERT_TRUE(long_lived);
  EXPECT_EQ(long_lived->moved_slots, 1);
  options.price.horizon_steps = 1e-9;
  const auto short_lived = choose_change(t, load, current, resolved, options);
  ASSERT_TRUE(short_lived);
  EXPECT_EQ(short_lived->moved_slots, 0);
  EXPECT_NE(short_lived->reason.find("keep"), std::string::npos);
}

// Every split of the groups, by brute force.
double least_split(const SplitProblem& p, Split& split, size_t group) {
  if (group == p.group_load.size()) {
    double bound = 0;
    for (size_t n = 0; n < split.size(); ++n) {
      bound = std::max(bound, p.bound(static_cast<int>(n), split[n]));
    }
    return bound;
  }
  double least = std::numeric_limits<double>::infinity();
  for (Groups& mine : split) {
    if (mine.size() == static_cast<size_t>(p.groups_per_node)) continue;
    mine.push_back(static_cast<int>(group));
    least = std::min(least, least_split(p, split, group + 1));
    mine.pop_back();
  }
  return least;
}

TEST(GroupSplit, IsTheLeastAndItsBoundHoldsAlsoWhenTheSearchIsCutShort) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed, 14);
    SplitProblem p;
    const auto nodes = static_cast<size_t>(2 + rng.below(2));
    p.groups_per_node = static_cast<int>(1 + rng.below(3));
    p.group_load = test::random_load(rng, static_cast<int>(nodes) * p.groups_per_node);
    for (size_t n = 0; n < nodes; ++n) {
      p.node_ranks.push_back(n == 0 ? 2 : 3);
      p.node_kind.push_back(n == 0 ? 0 : 1);
    }
    p.bound = [&](int node, const Groups& groups) {
      double sum = 0;
      for (const int g : groups) sum += p.group_load[static_cast<size_t>(g)];
      return sum / p.node_ranks[static_cast<size_t>(node)];
    };
    Split start(nodes), scratch(nodes);
    for (size_t g = 0; g < p.group_load.size(); ++g) {
      start[g / static_cast<size_t>(p.groups_per_node)].push_back(static_cast<int>(g));
    }
    const double least = least_split(p, scratch, 0);
    const SplitResult all = best_split(p, start, 1'000'000);
    ASSERT_NEAR(all.bound, least, 1e-9 * least);
    ASSERT_LE(all.proven, least * (1 + 1e-9));
    ASSERT_GE(all.proven, least * (1 - 1e-9));
    const SplitResult few = best_split(p, start, static_cast<int64_t>(rng.below(10)));
    ASSERT_LE(few.proven, least * (1 + 1e-9));
    ASSERT_GE(few.bound, least * (1 - 1e-9));
  }
}

}  // namespace
}  // namespace wingspan
