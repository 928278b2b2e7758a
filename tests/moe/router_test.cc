// Routing families against recomputed vectors, corner cases included, and the limits of a spec.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/files.h"
#include "base/json.h"
#include "base/rng.h"
#include "moe/router.h"
#include "support/paths.h"

namespace wingspan::test {
namespace {

RouterSpec spec_of(const std::string& family, const Json& params) {
  RouterSpec s;
  s.experts = params["experts"];
  s.top_k = params["k"];
  s.groups = params.value("n_group", 1);
  s.top_groups = params.value("topk_group", s.groups);
  s.scale = params.value("scale", 1.0F);
  if (family == "softmax_topk_renormalized") s.weights = RouterWeights::kRenormalized;
  if (family == "group_limited_greedy") s.group_score = GroupScore::kMax;
  if (family == "sigmoid_bias_groups") {
    s.scoring = Scoring::kSigmoid;
    s.weights = RouterWeights::kRenormalized;
    s.epsilon = 1e-20F;
    s.group_score = GroupScore::kTop2Sum;
  }
  if (family == "sigmoid_top1") s.weights = RouterWeights::kSigmoidTop1;
  if (family == "softmax_over_selected") s.weights = RouterWeights::kSoftmaxOverSelected;
  return s;
}

class RouterGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(RouterGolden, SameExpertsAndWeights) {
  const auto text =
      real_files().read_text(golden_path(std::string("routing/") + GetParam() + ".json"), 1 << 26);
  ASSERT_TRUE(text);
  const Json file = Json::parse(*text);
  int rows = 0;
  for (const Kernels* kernels : all_kernels()) {
    for (const Json& c : file["cases"]) {
      const RouterSpec spec = spec_of(file["family"], c["params"]);
      ASSERT_TRUE(spec.validate());
      std::vector<float> bias;
      if (c.contains("bias")) bias = c["bias"].get<std::vector<float>>();
      std::vector<float> scratch(static_cast<size_t>(spec.experts) * 3);
      for (const Json& row : c["rows"]) {
        SCOPED_TRACE(fmt::format("{}: {}", c["note"].get<std::string>(), row["note"].dump()));
        const auto logits = row["logits"].get<std::vector<float>>();
        std::vector<int32_t> ids(static_cast<size_t>(spec.top_k));
        std::vector<float> weights(ids.size());
        route_token(*kernels, spec, logits.data(), bias.empty() ? nullptr : bias.data(), ids.data(),
                    weights.data(), scratch.data());
        EXPECT_EQ(ids, row["experts"].get<std::vector<int32_t>>());
        for (size_t j = 0; j < weights.size(); ++j) {
          const float want = row["weights"][j].get<float>();
          EXPECT_NEAR(weights[j], want, 2e-6F * std::max(1e-3F, std::abs(want)));
        }
        ++rows;
      }
    }
  }
  EXPECT_GT(rows, 20);
}

INSTANTIATE_TEST_SUITE_P(Families, RouterGolden,
                         ::testing::Values("softmax_topk", "softmax_topk_renormalized",
                                           "group_limited_greedy", "sigmoid_bias_groups",
                                           "sigmoid_top1", "softmax_over_selected"),
                         [](const auto& test) { return std::string(test.param); });

RouterSpec random_spec(Rng& rng) {
  RouterSpec s;
  s.groups = 1 << rng.below(4);
  s.experts = s.groups * (2 + static_cast<int>(rng.below(15)));
  s.top_groups = 1 + static_cast<int>(rng.below(static_cast<uint64_t>(s.groups)));
  const int size = s.experts / s.groups;
  s.top_k = 1 + static_cast<int>(rng.below(static_cast<uint64_t>(size * s.top_groups)));
  s.scoring = rng.below(2) == 0 ? Scoring::kSigmoid : Scoring::kSoftmax;
  s.group_score = rng.below(2) == 0 ? GroupScore::kMax : GroupScore::kTop2Sum;
  return s;
}

TEST(Router, GroupsAndHierarchyBoundWhatATokenTouches) {
  const Kernels& kernels = **choose_kernels("auto");
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Rng rng(seed);
    RouterSpec s = random_spec(rng);
    const int size = s.experts / s.groups;
    s.per_group =
        rng.below(2) == 0 ? 0 : std::min(size, (s.top_k + s.top_groups - 1) / s.top_groups);
    ASSERT_TRUE(s.validate());
    std::vector<float> logits(static_cast<size_t>(s.experts)), scratch(logits.size() * 3);
    for (float& x : logits) x = static_cast<float>(rng.below(7)) - 3;  // many ties
    std::vector<int32_t> ids(static_cast<size_t>(s.top_k));
    std::vector<float> weights(ids.size());
    route_token(kernels, s, logits.data(), nullptr, ids.data(), weights.data(), scratch.data());
    EXPECT_EQ(std::set<int32_t>(ids.begin(), ids.end()).size(), ids.size());
    std::vector<int> taken(static_cast<size_t>(s.groups));
    for (const int32_t id : ids) ++taken[static_cast<size_t>(id / size)];
    const auto touched = std::count_if(taken.begin(), taken.end(), [](int n) { return n > 0; });
    EXPECT_LE(touched, s.top_groups);
    const int most = *std::max_element(taken.begin(), taken.end());
    EXPECT_LE(most, s.per_group > 0 ? s.per_group : s.top_k);
  }
}

TEST(Router, ImpossibleSpecsAreRefused) {
  RouterSpec s;
  s.experts = 8;
  s.top_k = 9;
  EXPECT_FALSE(s.validate());
  s.top_k = 5;
  s.group_score = GroupScore::kMax;
  s.groups = 4;
  s.top_groups = 2;
  EXPECT_FALSE(s.validate());  // 2 groups hold 4 experts
  s.top_k = 4;
  EXPECT_TRUE(s.validate());
  s.per_group = 1;
  EXPECT_FALSE(s.validate());
  s.groups = 3;
  EXPECT_FALSE(s.validate());
}

}  // namespace
}  // namespace wingspan::test
