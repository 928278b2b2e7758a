#include "comm/loopback.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "comm/exchange_checks.h"
#include "comm/faulty.h"

namespace wingspan::test {
namespace {

TEST(Loopback, RandomTrafficArrivesAsSent) {
  for (int ranks : {1, 2, 3, 5, 8, 64}) {
    const uint64_t seed = 77 + static_cast<uint64_t>(ranks);
    SCOPED_TRACE(::testing::Message() << "ranks " << ranks << " seed " << seed);
    const Status status = run_loopback(
        ranks, {}, [&](Group& group) { return random_traffic(group, seed, ranks > 8 ? 15 : 120); });
    EXPECT_TRUE(status) << status.error().message();
  }
}

TEST(Loopback, DelaysChangeNothing) {
  FaultPlan plan;
  plan.delay_probability = 0.05;
  plan.max_delay_us = 500;
  auto groups = make_loopback(4, {});
  for (size_t r = 0; r < groups.size(); ++r) {
    plan.seed = r + 1;
    groups[r] = make_faulty(std::move(groups[r]), plan);
  }
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (auto& group : groups) {
    threads.emplace_back([&] { good += random_traffic(*group, 5, 60).has_value(); });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(good.load(), 4);
}

TEST(Loopback, AFlippedBitIsSeenByTheReceiver) {
  auto groups = make_loopback(2, {});
  FaultPlan plan;
  plan.corrupt_message = 3;
  groups[1] = make_faulty(std::move(groups[1]), plan);
  std::vector<std::string> errors(2);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      // Two peers that always wait for each other, so that the bad message is looked at.
      Group& group = *groups[r];
      auto channel = group.open_channel(256, "checks");
      for (int64_t round = 0; round < 20; ++round) {
        for (int peer = 0; peer < 2; ++peer) {
          std::memset(channel.value()->send_region(peer)->data(), 0x5a, 256);
          if (!channel.value()->post(peer, 256)) return;
        }
        for (int peer = 0; peer < 2; ++peer) {
          const auto got = channel.value()->wait(peer);
          if (!got) return;
          for (const std::byte b : *got) {
            if (b != std::byte{0x5a}) errors[r] = "differs in round " + std::to_string(round);
          }
        }
        if (!channel.value()->finish()) return;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_NE(errors[0] + errors[1], "");
}

// Errors of all ranks when rank 2 of four does `misbehave` in its fifth round.
std::vector<std::string> errors_when(const std::function<Status(Group&)>& misbehave,
                                     int64_t deadline_ms) {
  GroupOptions options;
  options.deadline_ms = deadline_ms;
  std::vector<std::string> errors(4);
  static_cast<void>(run_loopback(4, options, [&](Group& group) -> Status {
    const auto body = [&]() -> Status {
      WS_ASSIGN(auto channel, group.open_channel(64, "checks"));
      for (int64_t round = 0; round < 10; ++round) {
        group.set_progress({round, 7, "dispatch"});
        if (round == 5 && group.rank() == 2) WS_RETURN_IF_ERROR(misbehave(group));
        for (int peer = 0; peer < 4; ++peer) WS_RETURN_IF_ERROR(channel->post(peer, 0));
        WS_RETURN_IF_ERROR(channel->wait_all());
        WS_RETURN_IF_ERROR(channel->finish());
      }
      return {};
    };
    Status status = body();
    if (!status) errors[static_cast<size_t>(group.rank())] = status.error().message();
    return status;
  }));
  return errors;
}

TEST(Loopback, AnErrorOfOneRankEndsAllAtOnce) {
  const auto start = std::chrono::steady_clock::now();
  const auto errors = errors_when([](Group&) { return failed("the disk is full"); }, 8000);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));
  EXPECT_EQ(errors[2], "the disk is full");
  for (size_t r : {0U, 1U, 3U}) {
    EXPECT_NE(errors[r].find("rank 2 failed in layer 7, dispatch, step 5: the disk is full"),
              std::string::npos)
        << errors[r];
  }
}

TEST(Loopback, AnExceptionIsAnErrorToo) {
  const auto errors =
      errors_when([](Group&) -> Status { throw std::runtime_error("no memory"); }, 8000);
  EXPECT_NE(errors[0].find("no memory"), std::string::npos) << errors[0];
}

TEST(Loopback, ASilentRankIsNamedWithinTheDeadline) {
  const auto silent = [](Group& group) -> Status {
    while (group.check()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return group.check();
  };
  const auto errors = errors_when(silent, 400);
  for (size_t r : {0U, 1U, 3U}) {
    EXPECT_NE(errors[r].find("rank 2 stopped answering in layer 7, dispatch, step 5"),
              std::string::npos)
        << errors[r];
  }
}

TEST(Loopback, ARankThatComputesIsNotLost) {
  const auto busy = [](Group&) -> Status {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
    volatile int64_t work = 0;
    while (std::chrono::steady_clock::now() < end) work = work + 1;
    return {};
  };
  for (const auto& error : errors_when(busy, 300)) EXPECT_EQ(error, "");
}

TEST(Loopback, DifferentCapacitiesAreAnError) {
  const Status status = run_loopback(2, {}, [](Group& group) -> Status {
    WS_ASSIGN(auto channel,
              group.open_channel(64 + 64 * static_cast<size_t>(group.rank()), "checks"));
    return {};
  });
  EXPECT_FALSE(status);
}

}  // namespace
}  // namespace wingspan::test
