// Small changes against a re-solve over the whole recorded trace.
#include <gtest/gtest.h>

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
  // The load jumps once; two windows later the balance is that of before.
  const auto shift = static_cast<size_t>(
      std::min_element(resolve.balancedness.begin(), resolve.balancedness.end()) -
      resolve.balancedness.begin());
  for (size_t w = shift + 2; w < ours.balancedness.size(); ++w) {
    EXPECT_GE(ours.balancedness[w], 0.97 * resolve.balancedness[w]) << "window " << w;
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, WholeTrace,
                         ::testing::Values(Reach{32, 0.995, 0.05}, Reach{72, 1.0, 0.15}),
                         [](const auto& param) { return std::to_string(param.param.ranks); });

}  // namespace
}  // namespace wingspan
