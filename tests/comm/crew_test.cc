// Every piece of a round is done once, by somebody, after all have come and before anyone goes on.
#include "comm/crew.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "comm/faulty.h"
#include "comm/loopback.h"

namespace wingspan {
namespace {

constexpr int64_t kMostPieces = 40;

// Memory of one round: a number from each rank, and what became of each piece.
struct Page {
  int64_t* numbers;
  int64_t* pieces;
};
Page page_of(Crew& crew, int64_t round, int ranks) {
  auto* first =
      reinterpret_cast<int64_t*>(crew.memory().data()) + round % 2 * (ranks + kMostPieces);
  return {first, first + ranks};
}

// Each piece becomes the sum of all ranks' numbers and its own index; all ranks read all of them.
Status sum_rounds(Group& group, uint64_t seed, int64_t rounds) {
  const int ranks = group.size();
  WS_ASSIGN(auto crew, group.open_crew(static_cast<size_t>(2 * (ranks + kMostPieces)) * 8, "sums"));
  if (crew == nullptr) return failed("these ranks share memory");
  Rng rng(seed);  // the same on all ranks
  for (int64_t round = 0; round < rounds; ++round) {
    const auto pieces = static_cast<int64_t>(rng.below(kMostPieces + 1));
    group.set_progress({round, 3, "crew"});
    const Page page = page_of(*crew, round, ranks);
    page.numbers[group.rank()] = round * 1000 + group.rank();
    WS_RETURN_IF_ERROR(crew->meet());
    for (int64_t p = crew->take(pieces); p >= 0; p = crew->take(pieces)) {
      page.pieces[p] = std::accumulate(page.numbers, page.numbers + ranks, p);
      crew->done(pieces);
    }
    WS_RETURN_IF_ERROR(crew->finish(pieces));
    for (int64_t p = 0; p < pieces; ++p) {
      const int64_t want = p + ranks * round * 1000 + ranks * (ranks - 1) / 2;
      if (page.pieces[p] != want) return failed("a piece was not done, or too early");
    }
  }
  return {};
}

TEST(Crew, EachPieceIsDoneOnceAllHaveCome) {
  for (const int ranks : {1, 2, 3, 8, 64}) {
    const uint64_t seed = 31 + static_cast<uint64_t>(ranks);
    SCOPED_TRACE(::testing::Message() << "ranks " << ranks << " seed " << seed);
    const Status status = run_loopback(
        ranks, {}, [&](Group& group) { return sum_rounds(group, seed, ranks > 8 ? 40 : 400); });
    EXPECT_TRUE(status) << status.error().message();
  }
}

// What the ranks end with when the plan is carried out on rank 2 of four.
std::vector<std::string> errors_under(const FaultPlan& plan, int64_t deadline_ms) {
  GroupOptions options;
  options.deadline_ms = deadline_ms;
  auto groups = make_loopback(4, options);
  groups[2] = make_faulty(std::move(groups[2]), plan);
  std::vector<std::string> errors(4);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < groups.size(); ++r) {
    threads.emplace_back([&, r] {
      const Status status = sum_rounds(*groups[r], 9, 30);
      if (status) return;
      errors[r] = status.error().message();
      groups[r]->abort(status.error());
    });
  }
  for (auto& t : threads) t.join();
  return errors;
}

TEST(Crew, DelaysChangeNothing) {
  FaultPlan plan;
  plan.seed = 4;
  plan.delay_probability = 0.3;
  plan.max_delay_us = 400;
  for (const auto& error : errors_under(plan, 8000)) EXPECT_EQ(error, "");
}

TEST(Crew, ARankThatDiesEndsAllAtOnce) {
  FaultPlan plan;
  plan.die_at_step = 7;
  plan.die_at_layer = 3;
  const auto start = std::chrono::steady_clock::now();
  const auto errors = errors_under(plan, 8000);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));
  for (const size_t r : {0U, 1U, 3U}) {
    EXPECT_NE(errors[r].find("rank 2 failed in layer 3, crew, step 7"), std::string::npos)
        << errors[r];
  }
}

TEST(Crew, ASilentRankIsNamedWithinTheDeadline) {
  FaultPlan plan;
  plan.stop_at_step = 5;
  const auto errors = errors_under(plan, 400);
  for (const size_t r : {0U, 1U, 3U}) {
    EXPECT_NE(errors[r].find("rank 2 stopped answering in layer 3, crew, step 5"),
              std::string::npos)
        << errors[r];
  }
}

TEST(Crew, AnotherSizeIsAnErrorThatNamesIt) {
  std::vector<std::string> errors(2);
  static_cast<void>(run_loopback(2, {}, [&](Group& group) -> Status {
    const auto crew = group.open_crew(static_cast<size_t>(64 + 64 * group.rank()), "sums");
    if (crew) return {};
    errors[static_cast<size_t>(group.rank())] = crew.error().message();
    return Unexpected(crew.error());
  }));
  EXPECT_NE((errors[0] + errors[1]).find("crew sums with different sizes"), std::string::npos);
}

}  // namespace
}  // namespace wingspan
