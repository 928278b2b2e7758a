#include <gtest/gtest.h>

#include "cases.h"
#include "eplb/bounds.h"
#include "eplb/exact.h"
#include "support/rounds.h"

namespace wingspan {
namespace {

// The slow, obvious search: every way to fill the slots that obeys the rules. No pruning but by the
// load that is reached already.
class EveryPlacement {
 public:
  EveryPlacement(const Topology& topology, const std::vector<double>& load)
      : t_(topology), load_(load), slots_(static_cast<size_t>(topology.slots())) {}

  double optimum() {
    fill(0);
    return best_;
  }

 private:
  void fill(size_t slot) {
    if (slot == slots_.size()) return judge();
    const int rank = t_.rank_of_slot(static_cast<int>(slot));
    const bool first = static_cast<int>(slot) == t_.first_slot(rank);
    // A rank's slots may be taken in ascending order.
    for (int e = first ? 0 : slots_[slot - 1]; e < t_.experts; ++e) {
      slots_[slot] = e;
      fill(slot + 1);
    }
  }

  void judge() {
    Placement placement;
    placement.topology = t_;
    placement.layers.push_back({0, slots_});
    if (!placement.validate()) return;
    const auto costs = rank_costs(t_, slots_, ShareModel(load_));
    const double max = *std::max_element(costs.begin(), costs.end());
    if (best_ < 0 || max < best_) best_ = max;
  }

  const Topology& t_;
  const std::vector<double>& load_;
  std::vector<int> slots_;
  double best_ = -1;
};

TEST(Bounds, NeverExceedTheOptimumOfSmallInstances) {
  int few_slots_helped = 0, checked = 0;
  for (uint64_t seed = 0; checked < test::rounds(2500); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed, 3);
    test::Instance instance = test::random_instance(rng, 9, 5);
    if (instance.topology.grouped() || instance.topology.slots() > 14) continue;
    ++checked;
    const ShareModel shares(instance.load);
    const auto& sizes = instance.topology.rank_slots;
    double total = 1;
    for (const double l : instance.load) total += l;
    const ExactResult exact = exact_search(shares, sizes, 2 * total, 0, 30'000'000);
    ASSERT_TRUE(exact.proven);
    ASSERT_FALSE(exact.slot_to_expert.empty());
    const double basic = basic_bound(shares, sizes);
    const double few = few_slots_bound(shares, sizes, basic, 2 * total);
    ASSERT_LE(basic, exact.load * (1 + 1e-9));
    ASSERT_LE(few, exact.load * (1 + 1e-9));
    few_slots_helped += few > basic * (1 + 1e-6);
    PlanOptions options;
    const LayerPlan plan = plan_layer(instance.topology, instance.load, options);
    ASSERT_LE(plan.lower_bound, exact.load * (1 + 1e-9));
    ASSERT_NEAR(largest_cost(instance.topology, plan.slot_to_expert, shares), exact.load,
                1e-9 * exact.load);
  }
  EXPECT_GT(few_slots_helped, test::rounds(40));
}

TEST(Bounds, ExactSearchAgreesWithTryingEveryPlacement) {
  int checked = 0;
  for (uint64_t seed = 0; checked < 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed, 4);
    const test::Instance instance = test::random_instance(rng, 5, 3);
    const Topology& t = instance.topology;
    if (t.slots() > 7) continue;
    ++checked;
    const double optimum = EveryPlacement(t, instance.load).optimum();
    ASSERT_GE(optimum, 0);
    const LayerPlan plan = plan_layer(t, instance.load, {});
    const auto costs = rank_costs(t, plan.slot_to_expert, ShareModel(instance.load));
    const double reached = *std::max_element(costs.begin(), costs.end());
    ASSERT_NEAR(reached, optimum, 1e-9 * optimum) << (t.grouped() ? "grouped" : "flat");
    ASSERT_LE(plan.lower_bound, optimum * (1 + 1e-9));
  }
}

TEST(Bounds, FewSlotsSeesTheCompanyOfTheLargest) {
  // The expert of 100 shares its rank with one of 40 at least: 140, where mean and largest say 110.
  const std::vector<double> load{100, 100, 40, 40, 80, 80};
  const ShareModel shares(load);
  const std::vector<int> sizes{2, 2, 2};
  EXPECT_DOUBLE_EQ(basic_bound(shares, sizes), 440.0 / 3);
  const std::vector<double> skewed{100, 40, 40, 40, 40, 40};
  const ShareModel second(skewed);
  EXPECT_DOUBLE_EQ(basic_bound(second, sizes), 100);
  EXPECT_GT(few_slots_bound(second, sizes, 100, 200), 138);
}

}  // namespace
}  // namespace wingspan
