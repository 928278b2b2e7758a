// Small changes against a re-solve over the whole recorded trace.
#include <gtest/gtest.h>

#include <algorithm>

#include "cases.h"
#include "eplb/replay.h"

namespace wingspan {
namespace {

struct Reach {
  int ranks;
  double balance, moves;  // of the re-solve's: at least, at most
};

class WholeTrace : public ::testing::TestWithParam<Reach> {};

TEST_P(WholeTrace, SmallChangesKeepTheBalanceWithFewMoves) {
  const Reach reach = GetParam();
  const auto windows = test::recorded_trace(0, 200);
  const Topology t{256, 1, 1, even_rank_slots(288, reach.ranks)};
  const ReplayResult resolve = replay(t, windows, Policy::kResolve);
  const ReplayResult ours = replay(t, windows, Policy::kIncremental);
  EXPECT_GE(ours.mean_balancedness, reach.balance * resolve.mean_balancedness);
  EXPECT_LE(static_cast<double>(ours.moves), reach.moves * static_cast<double>(resolve.moves));
  // The load jumps once; within two windows the balance is back.
  const auto shift = std::min_element(resolve.balancedness.begin(), resolve.balancedness.end()) -
                     resolve.balancedness.begin();
  const auto window = static_cast<size_t>(shift);
  ASSERT_GT(window, 1U);
  EXPECT_LT(ours.balancedness[window], 0.7 * ours.balancedness[window - 1]);
  EXPECT_GE(ours.balancedness[window + 2], 0.975 * ours.balancedness[window - 1]);
}

INSTANTIATE_TEST_SUITE_P(Ranks, WholeTrace,
                         ::testing::Values(Reach{32, 0.995, 0.05}, Reach{72, 1.0, 0.15}),
                         [](const auto& param) { return std::to_string(param.param.ranks); });

}  // namespace
}  // namespace wingspan
