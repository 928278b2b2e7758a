// The digest by which ranks compare their models covers every field of the config.
#include "model/digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace wingspan::test {
namespace {

using Change = std::function<void(ModelConfig&)>;

TEST(Digest, EveryFieldCounts) {
  const std::vector<Change> changes = {
      [](ModelConfig& c) { c.family += "x"; },
      [](ModelConfig& c) { ++c.vocab; },
      [](ModelConfig& c) { ++c.hidden; },
      [](ModelConfig& c) { ++c.layers; },
      [](ModelConfig& c) { ++c.max_positions; },
      [](ModelConfig& c) { c.rms_eps *= 2; },
      [](ModelConfig& c) { c.tied_embeddings = true; },
      [](ModelConfig& c) { c.eos.push_back(7); },
      [](ModelConfig& c) { c.bos = 3; },
      [](ModelConfig& c) { c.mlp.push_back(MlpKind::kMoe); },
      [](ModelConfig& c) { c.mlp[0] = MlpKind::kMoe; },
      [](ModelConfig& c) { ++c.dense_width; },
      [](ModelConfig& c) { ++c.mtp_layers; },
      [](ModelConfig& c) { c.fp8_blocks = true; },
      [](ModelConfig& c) { ++c.mla.heads; },
      [](ModelConfig& c) { ++c.mla.q_lora; },
      [](ModelConfig& c) { ++c.mla.kv_lora; },
      [](ModelConfig& c) { ++c.mla.nope; },
      [](ModelConfig& c) { ++c.mla.rope; },
      [](ModelConfig& c) { ++c.mla.v; },
      [](ModelConfig& c) { c.mla.rope_theta += 1; },
      [](ModelConfig& c) { c.mla.yarn = YarnParams{}; },
      [](ModelConfig& c) { c.mla.yarn = YarnParams{.factor = 4}; },
      [](ModelConfig& c) { c.mla.yarn = YarnParams{.original_max_position = 4096}; },
      [](ModelConfig& c) { c.mla.yarn = YarnParams{.beta_fast = 31}; },
      [](ModelConfig& c) { c.mla.yarn = YarnParams{.beta_slow = 2}; },
      [](ModelConfig& c) { c.mla.yarn = YarnParams{.truncate = false}; },
      [](ModelConfig& c) { c.mla.softmax_scale = 2; },
      [](ModelConfig& c) { c.mla.latent_norm_eps = 1; },
      [](ModelConfig& c) { ++c.moe.router.experts; },
      [](ModelConfig& c) { ++c.moe.router.top_k; },
      [](ModelConfig& c) { c.moe.router.scoring = Scoring::kSigmoid; },
      [](ModelConfig& c) { c.moe.router.weights = RouterWeights::kRenormalized; },
      [](ModelConfig& c) { c.moe.router.group_score = GroupScore::kMax; },
      [](ModelConfig& c) { ++c.moe.router.groups; },
      [](ModelConfig& c) { ++c.moe.router.top_groups; },
      [](ModelConfig& c) { ++c.moe.router.per_group; },
      [](ModelConfig& c) { c.moe.router.scale = 2; },
      [](ModelConfig& c) { c.moe.router.epsilon = 1e-20F; },
      [](ModelConfig& c) { c.moe.router_bias = true; },
      [](ModelConfig& c) { ++c.moe.expert_width; },
      [](ModelConfig& c) { ++c.moe.shared_width; },
  };
  ModelConfig base;
  base.mlp = {MlpKind::kDense};
  std::vector<uint64_t> seen = {config_digest(base)};
  for (size_t i = 0; i < changes.size(); ++i) {
    ModelConfig changed = base;
    changes[i](changed);
    const uint64_t digest = config_digest(changed);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), digest), 0) << "change " << i;
    seen.push_back(digest);
  }
  base.name = "elsewhere";
  EXPECT_EQ(config_digest(base), seen[0]) << "the directory's name says nothing of the model";
}

}  // namespace
}  // namespace wingspan::test
