// A million random operations on the scheduler, followed by the simple model.
#include <gtest/gtest.h>

#include "sched/simple_model.h"

namespace wingspan::test {
namespace {

TEST(SchedulerSlow, AMillionOperationsLoseDoubleAndStarveNothing) {
  Seen seen;
  for (uint64_t seed = 1 << 20; seen.operations < 1000000 && !HasFailure(); ++seed) {
    run_random(seed, 120, seen);
  }
  EXPECT_GT(seen.hits, 0);
  EXPECT_GT(seen.preemptions, 0);
}

}  // namespace
}  // namespace wingspan::test
