#include <gtest/gtest.h>

#include "cases.h"
#include "eplb/bounds.h"
#include "eplb/exact.h"

namespace wingspan {
namespace {

using test::load_matrix;
using test::random_instance;
using test::read_golden;

Placement placement_of(const Topology& topology, const std::vector<LayerPlan>& plans) {
  Placement out;
  out.topology = topology;
  for (const LayerPlan& plan : plans) {
    out.layers.push_back({static_cast<int>(out.layers.size()), plan.slot_to_expert});
  }
  return out;
}

Topology topology_of(const Json& entry) {
  Topology t;
  t.experts = entry["experts"];
  t.nodes = entry["nodes"];
  t.groups = entry["groups"];
  t.rank_slots = even_rank_slots(entry["slots"], entry["ranks"]);
  return t;
}

void check_recorded_case(const Json& entry) {
  SCOPED_TRACE(entry["case"].get<std::string>());
  const Json golden = read_golden("plans/" + entry["case"].get<std::string>() + ".json");
  const LoadMatrix load = load_matrix(read_golden(entry["load"])["load"]);
  const Topology topology = topology_of(entry);
  const auto plans = plan_layers(topology, load, {});
  const Status valid = placement_of(topology, plans).validate();
  ASSERT_TRUE(valid) << valid.error().message();
  double max = 0;
  for (size_t l = 0; l < load.size(); ++l) {
    const LayerReport report =
        report_plan(topology, plans[l].slot_to_expert, load[l], plans[l].lower_bound);
    max += report.max_rank_load;
    const Json& layer = golden["layers"][l];
    EXPECT_GE(report.lower_bound, layer["lower_bound"].get<double>() * (1 - 1e-9));
    if (!layer["lower_bound_grouped"].is_null()) {
      EXPECT_GE(report.lower_bound, layer["lower_bound_grouped"].get<double>() * (1 - 1e-9));
    }
    if (layer["optimum"].is_null()) continue;
    const double optimum = layer["optimum"];
    EXPECT_LE(report.max_rank_load, optimum * (1 + 1e-9)) << "layer " << l;
    EXPECT_LE(report.lower_bound, optimum * (1 + 1e-9)) << "layer " << l;
  }
  const Json& totals = golden["totals"];
  EXPECT_LE(max, totals["max_rank_load"].get<double>() * (1 + 1e-9));
  if (!totals["known_feasible_max_rank_load"].is_null()) {
    EXPECT_LE(max, totals["known_feasible_max_rank_load"].get<double>() * 1.005);
  }
}

TEST(Plan, IsNeverAboveTheRecordedPlannerAndReachesTheProvenOptima) {
  const Json cases = read_golden("cases.json");
  ASSERT_EQ(cases.size(), 69U);
  for (const Json& entry : cases) check_recorded_case(entry);
}

TEST(Plan, ObeysTheRulesOnRandomInstances) {
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed, 1);
    const auto instance = random_instance(rng, 24, 9);
    ASSERT_TRUE(instance.topology.validate());
    PlanOptions options;
    options.effort.exact_nodes = 300;
    options.effort.refine_rounds = 1;
    if (rng.below(4) == 0) options.objective = Objective::kActivated;
    options.rows = 64;
    if (rng.below(2) == 0) options.effort = Effort::fast();
    const LayerPlan plan = plan_layer(instance.topology, instance.load, options);
    const Status valid = placement_of(instance.topology, {plan}).validate();
    ASSERT_TRUE(valid) << valid.error().message();
    const LayerReport report =
        report_plan(instance.topology, plan.slot_to_expert, instance.load, plan.lower_bound);
    EXPECT_LE(report.lower_bound, report.max_rank_load);
    if (options.objective == Objective::kTokens) {
      EXPECT_GE(plan.lower_bound * (1 + 1e-9), report.mean_rank_load);
    }
    const LayerPlan again = plan_layer(instance.topology, instance.load, options);
    EXPECT_EQ(plan.slot_to_expert, again.slot_to_expert);
  }
}

TEST(Plan, FindsNothingToDoWithOneRankOrNoLoad) {
  const Topology one{8, 1, 1, {8}};
  const std::vector<double> load{8, 1, 6, 2, 5, 3, 7, 4};
  const LayerPlan plan = plan_layer(one, load, {});
  const LayerReport report = report_plan(one, plan.slot_to_expert, load, plan.lower_bound);
  EXPECT_EQ(report.max_rank_load, 36);
  EXPECT_EQ(report.lower_bound, 36);
  const Topology four{8, 1, 1, {3, 3, 3, 3}};
  const std::vector<double> none(8);
  const LayerPlan idle = plan_layer(four, none, {});
  const LayerReport zero = report_plan(four, idle.slot_to_expert, none, idle.lower_bound);
  EXPECT_EQ(zero.balancedness, 1);
  EXPECT_EQ(zero.gap, 0);
}

TEST(Plan, ActivatedReadsFewerExpertsThanTokensDoes) {
  double tokens_sum = 0, activated_sum = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed, 2);
    Topology t;
    t.experts = 64;
    t.rank_slots = even_rank_slots(80, 16);
    std::vector<double> load(64);
    for (double& l : load) l = std::exp(1.1 * rng.normal());
    const ShareModel shares(load, Objective::kActivated, 128);
    const auto worst = [&](Objective objective) {
      PlanOptions options;
      options.objective = objective;
      options.rows = 128;
      const auto costs = rank_costs(t, plan_layer(t, load, options).slot_to_expert, shares);
      return *std::max_element(costs.begin(), costs.end());
    };
    tokens_sum += worst(Objective::kTokens);
    activated_sum += worst(Objective::kActivated);
  }
  EXPECT_LT(activated_sum, 0.95 * tokens_sum);
}

}  // namespace
}  // namespace wingspan
