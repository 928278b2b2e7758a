#include "eplb/replay.h"

#include <gtest/gtest.h>

#include "cases.h"
#include "eplb/forecast.h"

namespace wingspan {
namespace {

// Windows around the sudden change of the recorded trace, which comes between its 89th and 90th.
TEST(Replay, SmallChangesHoldTheBalanceOfAResolveAndRecoverFromAShift) {
  const auto windows = test::recorded_trace(74, 26);
  const Topology t{256, 1, 1, even_rank_slots(288, 32)};
  const ReplayResult resolve = replay(t, windows, Policy::kResolve);
  const ReplayResult ours = replay(t, windows, Policy::kIncremental);
  const ReplayResult keep = replay(t, windows, Policy::kKeep);
  EXPECT_LT(keep.mean_balancedness, 0.9 * ours.mean_balancedness);
  EXPECT_GE(ours.mean_balancedness, 0.995 * resolve.mean_balancedness);
  EXPECT_LT(ours.moves, 0.1 * static_cast<double>(resolve.moves));
  size_t shift = 0;
  for (size_t w = 1; w < resolve.balancedness.size(); ++w) {
    if (resolve.balancedness[w] < 0.7) shift = w;
  }
  ASSERT_GT(shift, 0U);
  for (size_t w = shift + 2; w < resolve.balancedness.size(); ++w) {
    EXPECT_GE(ours.balancedness[w], 0.97 * resolve.balancedness[w]) << "window " << w;
  }
}

TEST(Replay, KeepNeverMoves) {
  const auto windows = test::recorded_trace(0, 4);
  const Topology t{256, 1, 1, even_rank_slots(256, 16)};
  EXPECT_EQ(replay(t, windows, Policy::kKeep).moves, 0);
}

TEST(Replay, RelabelledPlansBalanceAlikeWithFewerMoves) {
  const auto windows = test::recorded_trace(0, 6);
  const Topology t{256, 1, 1, even_rank_slots(288, 32)};
  const ReplayResult resolve = replay(t, windows, Policy::kResolve);
  const ReplayResult relabel = replay(t, windows, Policy::kRelabel);
  EXPECT_NEAR(resolve.mean_balancedness, relabel.mean_balancedness, 1e-9);
  EXPECT_LT(relabel.moves, resolve.moves);
}

TEST(Forecast, FiltersCountingNoiseAndDoesNotExtrapolateAcrossAJump) {
  Rng rng(5);
  std::vector<double> first(200), second(200);
  for (double& l : first) l = 100 * std::exp(rng.normal());
  for (double& l : second) l = 100 * std::exp(rng.normal());
  const auto noisy = [&](const std::vector<double>& truth) {
    std::vector<double> out;
    for (const double l : truth) out.push_back(std::max(0.0, l + std::sqrt(l) * rng.normal()));
    return out;
  };
  const auto error = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t e = 0; e < a.size(); ++e) sum += (a[e] - b[e]) * (a[e] - b[e]) / b[e];
    return sum / static_cast<double>(a.size());
  };
  LoadForecast forecast;
  for (int w = 0; w < 20; ++w) forecast.observe(noisy(first));
  EXPECT_LT(error(forecast.next(), first), 0.3);  // a raw window has 1
  for (int w = 0; w < 4; ++w) {
    forecast.observe(noisy(second));
    EXPECT_LT(error(forecast.next(), second), 1.5) << w << " windows after the jump";
  }
}

}  // namespace
}  // namespace wingspan
