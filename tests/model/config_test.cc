// config.json: what each family's file means, and that every lie in one is named.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/rng.h"
#include "model/config.h"
#include "support/paths.h"

namespace wingspan::test {
namespace {

// DeepSeek-R1's published config.json, shortened to what matters.
Json r1() {
  return Json::parse(R"({"model_type":"deepseek_v3","hidden_size":7168,"num_hidden_layers":61,
    "vocab_size":129280,"num_attention_heads":128,"intermediate_size":18432,
    "moe_intermediate_size":2048,"n_routed_experts":256,"n_shared_experts":1,
    "num_experts_per_tok":8,"n_group":8,"topk_group":4,"first_k_dense_replace":3,
    "moe_layer_freq":1,"norm_topk_prob":true,"routed_scaling_factor":2.5,
    "scoring_func":"sigmoid","topk_method":"noaux_tc","q_lora_rank":1536,"kv_lora_rank":512,
    "qk_nope_head_dim":128,"qk_rope_head_dim":64,"v_head_dim":128,"rms_norm_eps":1e-6,
    "rope_theta":10000,"rope_scaling":{"type":"yarn","factor":40,
    "original_max_position_embeddings":4096,"beta_fast":32,"beta_slow":1,"mscale":1.0,
    "mscale_all_dim":1.0},"max_position_embeddings":163840,"num_nextn_predict_layers":1,
    "bos_token_id":0,"eos_token_id":1,"tie_word_embeddings":false,"hidden_act":"silu",
    "attention_bias":false,"quantization_config":{"quant_method":"fp8","fmt":"e4m3",
    "activation_scheme":"dynamic","weight_block_size":[128,128]}})");
}

std::string error_of(const Json& json) {
  const auto config = parse_model_config(json.dump(), "c.json");
  return config ? "" : config.error().message();
}

TEST(Config, R1HasItsPublishedSize) {
  const auto config = parse_model_config(r1().dump(), "c.json");
  ASSERT_TRUE(config) << config.error().message();
  const ParameterCount count = count_parameters(*config);
  EXPECT_NEAR(static_cast<double>(count.total), 671.03e9, 0.02e9);
  EXPECT_NEAR(static_cast<double>(count.active_per_token), 37e9, 0.7e9);
  EXPECT_EQ(count.routed_experts, int64_t{58} * 256 * 44'040'192);
  EXPECT_EQ(config->moe_layers().size(), 58U);
  EXPECT_EQ(config->mtp_layers, 1);
  EXPECT_TRUE(config->fp8_blocks);
  // 192^−½ · (0.1 ln 40 + 1)²
  EXPECT_NEAR(config->mla.softmax_scale, 0.1352338, 1e-6);
  EXPECT_EQ(config->eos, (std::vector<int32_t>{1}));
}

TEST(Config, KimiK2IsOneGroup) {
  Json json = r1();
  json["model_type"] = "kimi_k2";
  json["n_routed_experts"] = 384;
  json["n_group"] = json["topk_group"] = 1;
  json["first_k_dense_replace"] = 1;
  json["num_nextn_predict_layers"] = 0;
  const auto config = parse_model_config(json.dump(), "c.json");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->moe.router.experts, 384);
  EXPECT_EQ(config->moe.router.groups, 1);
  EXPECT_EQ(config->moe_layers().size(), 60U);
}

TEST(Config, GoldenFamiliesAreRead) {
  for (const char* name : {"deepseek_v2", "deepseek_v2_lite", "deepseek_v3", "deepseek_v3_flat"}) {
    const auto config = read_model_config(real_files(), golden_path("models/" + std::string(name)));
    ASSERT_TRUE(config) << config.error().message();
    EXPECT_EQ(config->name, name);
    EXPECT_GT(count_parameters(*config).active_per_token, 0);
  }
}

TEST(Config, RopeParametersMeanTheSameAsRopeScaling) {
  Json json = r1();
  Json rope = json["rope_scaling"];
  json.erase("rope_scaling");
  json.erase("rope_theta");
  rope.erase("type");
  rope["rope_type"] = "yarn";
  rope["rope_theta"] = 10000;
  json["rope_parameters"] = rope;
  const auto config = parse_model_config(json.dump(), "c.json");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_NEAR(config->mla.softmax_scale, 0.1352338, 1e-6);
  EXPECT_EQ(config->mla.rope_theta, 10000);
}

struct Lie {
  const char* name;
  const char* path;   // JSON pointer
  const char* value;  // JSON text; null: the key is removed
  const char* says;   // part of the message
};
void PrintTo(const Lie& lie, std::ostream* out) { *out << lie.name; }

class ConfigLies : public ::testing::TestWithParam<Lie> {};

TEST_P(ConfigLies, AreNamed) {
  const Lie& lie = GetParam();
  Json json = r1();
  const Json::json_pointer at(lie.path);
  if (lie.value == nullptr) {
    json.erase(at.back());
  } else {
    json[at] = Json::parse(lie.value);
  }
  const std::string message = error_of(json);
  EXPECT_NE(message.find(lie.says), std::string::npos) << "\"" << message << "\"";
  EXPECT_NE(message.find("c.json"), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigLies,
    ::testing::Values(
        Lie{"Family", "/model_type", "\"llama\"", "model_type"},
        Lie{"NoFamily", "/model_type", nullptr, "model_type"},
        Lie{"FamilyNumber", "/model_type", "7", "model_type"},
        Lie{"NoHidden", "/hidden_size", nullptr, "hidden_size"},
        Lie{"HiddenZero", "/hidden_size", "0", "hidden_size"},
        Lie{"HiddenNegative", "/hidden_size", "-7168", "hidden_size"},
        Lie{"HiddenHuge", "/hidden_size", "1000000000000000000", "hidden_size"},
        Lie{"HiddenText", "/hidden_size", "\"7168\"", "hidden_size"},
        Lie{"HiddenFraction", "/hidden_size", "7168.5", "hidden_size"},
        Lie{"AllHuge", "/n_routed_experts", "65536", "weights, more than"},
        Lie{"Layers", "/num_hidden_layers", "100000", "num_hidden_layers"},
        Lie{"DenseBeyondLayers", "/first_k_dense_replace", "62", "first_k_dense_replace"},
        Lie{"TopKAboveExperts", "/num_experts_per_tok", "257", "num_experts_per_tok"},
        Lie{"TopKAboveKeptGroups", "/num_experts_per_tok", "129", "expert"},
        Lie{"GroupsDoNotDivide", "/n_group", "7", "group"},
        Lie{"KeptGroups", "/topk_group", "9", "topk_group"},
        Lie{"RopeOdd", "/qk_rope_head_dim", "63", "qk_rope_head_dim"},
        Lie{"Scoring", "/scoring_func", "\"softplus\"", "scoring_func"},
        Lie{"Method", "/topk_method", "\"best\"", "topk_method"},
        Lie{"Activation", "/hidden_act", "\"gelu\"", "hidden_act"},
        Lie{"Bias", "/attention_bias", "true", "attention_bias"},
        Lie{"Interleave", "/rope_interleave", "false", "rope_interleave"},
        Lie{"RopeType", "/rope_scaling/type", "\"linear\"", "type"},
        Lie{"Factor", "/rope_scaling/factor", "-1", "factor"},
        Lie{"Mscale", "/rope_scaling/mscale", "0.5", "mscale"},
        Lie{"QuantMethod", "/quantization_config/quant_method", "\"awq\"", "quant_method"},
        Lie{"QuantFormat", "/quantization_config/fmt", "\"e5m2\"", "fmt"},
        Lie{"QuantBlock", "/quantization_config/weight_block_size", "[64,64]", "weight_block_size"},
        Lie{"QuantScale", "/quantization_config/scale_fmt", "\"ue8m0\"", "scale_fmt"},
        Lie{"Eos", "/eos_token_id", "129280", "eos_token_id"},
        Lie{"EosText", "/eos_token_id", "\"</s>\"", "eos_token_id"},
        Lie{"Epsilon", "/rms_norm_eps", "-1", "rms_norm_eps"},
        Lie{"Tied", "/tie_word_embeddings", "1", "tie_word_embeddings"}),
    [](const auto& test) { return test.param.name; });

TEST(Config, DimensionsThatAreFineAloneMayBeTooLargeTogether) {
  Json json = r1();
  json["hidden_size"] = 1 << 18;
  json["moe_intermediate_size"] = 1 << 20;
  json["n_routed_experts"] = 1 << 16;
  EXPECT_NE(error_of(json).find("weights, more than"), std::string::npos) << error_of(json);
}

// Random damage to the text: an error or a config, never a crash, and never a silent overflow.
TEST(Config, DamagedTextIsRefusedOrMeansSomething) {
  const std::string good = r1().dump();
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Rng rng(seed);
    std::string text = good;
    for (int i = 0; i < 3; ++i) {
      const size_t at = static_cast<size_t>(rng.below(text.size()));
      text[at] = "0123456789-.,:[]{}\"eE"[rng.below(21)];
    }
    const auto config = parse_model_config(text, "c.json");
    if (config) {
      EXPECT_GT(count_parameters(*config).total, 0);
    }
  }
}

}  // namespace
}  // namespace wingspan::test
