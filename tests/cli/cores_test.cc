// Where the threads of a rank are placed, as the kernel sees it.
#include "cli/cores.h"

#include <gtest/gtest.h>

namespace wingspan {
namespace {

cpu_set_t allowed_now() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
  return set;
}

bool within(const cpu_set_t& part, const cpu_set_t& whole) {
  cpu_set_t both;
  CPU_AND(&both, &part, &whole);
  return CPU_EQUAL(&both, &part) != 0;
}

TEST(Cores, AThreadStaysWithinWhatItMayUseAndGetsItsCoresBack) {
  const cpu_set_t before = allowed_now();
  const Cores cores;
  for (const int threads : {1, 2, 3, CPU_COUNT(&before), 64}) {
    for (int thread = 0; thread < threads; ++thread) {
      {
        const PlacedThread placed(cores, thread, threads);
        const cpu_set_t during = allowed_now();
        EXPECT_GT(CPU_COUNT(&during), 0);
        EXPECT_TRUE(within(during, before)) << thread << " of " << threads;
      }
      const cpu_set_t after = allowed_now();
      EXPECT_TRUE(CPU_EQUAL(&after, &before)) << thread << " of " << threads;
    }
  }
}

// Threads with a core each never share one.
TEST(Cores, AsManyThreadsAsCoresHaveOneEach) {
  const cpu_set_t before = allowed_now();
  const Cores cores;
  const int threads = CPU_COUNT(&before);
  cpu_set_t all;
  CPU_ZERO(&all);
  int pinned = 0;
  for (int thread = 0; thread < threads; ++thread) {
    const PlacedThread placed(cores, thread, threads);
    const cpu_set_t during = allowed_now();
    if (CPU_COUNT(&during) == CPU_COUNT(&before)) continue;
    cpu_set_t shared;
    CPU_AND(&shared, &during, &all);
    EXPECT_EQ(CPU_COUNT(&shared), 0) << thread << " of " << threads;
    CPU_OR(&all, &all, &during);
    ++pinned;
  }
  // With two hardware threads a core there are fewer cores than CPUs, and nothing is pinned.
  if (threads > 1 && pinned == 0) GTEST_SKIP() << "no thread was pinned on this machine";
}

}  // namespace
}  // namespace wingspan
