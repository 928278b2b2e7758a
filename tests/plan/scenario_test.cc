// Scenarios, configs and GPUs as users write them: what is filled in, and what is refused.
#include <gtest/gtest.h>

#include "plan/cases.h"

namespace wingspan::test {
namespace {

constexpr const char* kPlain = R"({"phase":"decode","gpus":32,"ep":32,"isl":4096,"osl":1024,
  "dtype":{"experts":"nvfp4","attention":"fp8","kv":"fp8","dispatch":"nvfp4","combine":"bf16"}})";

Expected<PlanScenario> parse(const Json& json, std::vector<std::string>* words = nullptr) {
  return parse_scenario(json, "s.json", model("R1"), words);
}

Json plain() { return Json::parse(kPlain); }

TEST(PlanScenario, EveryDefaultIsFilledInAndSaid) {
  std::vector<std::string> words;
  const auto s = parse(plain(), &words);
  ASSERT_TRUE(s) << s.error().message();
  EXPECT_EQ(s->slots, 256);
  EXPECT_EQ(s->attention_dp, 32);
  EXPECT_EQ(s->attention_tp, 1);
  EXPECT_EQ(s->balancing, Balancing::kStatic);
  EXPECT_FALSE(s->batch_per_gpu);
  for (const char* key :
       {"slots", "attention_dp", "attention_tp", "cached_fraction", "MTP", "overlap", "eplb"}) {
    bool said = false;
    for (const std::string& w : words) said = said || w.find(key) != std::string::npos;
    EXPECT_TRUE(said) << key;
  }
}

TEST(PlanScenario, WhatIsWrittenIsReadBack) {
  const uint64_t seed = 9;
  Rng rng(seed);
  const PlanModel m = model("R1");
  for (int i = 0; i < 300; ++i) {
    const PlanScenario s = random_scenario(rng, m);
    const auto json = json_of_scenario(s);
    const auto again = parse_scenario(Json(json), "again", m, nullptr);
    ASSERT_TRUE(again) << "seed " << seed << " round " << i << ": " << again.error().message();
    EXPECT_EQ(json_of_scenario(*again).dump(), json.dump()) << "seed " << seed << " round " << i;
  }
}

TEST(PlanScenario, BadOnesAreRefusedWithTheKey) {
  const std::pair<const char*, const char*> bad[] = {
      {R"({"speed":1})", "speed"},
      {R"({"phase":"training"})", "phase"},
      {R"({"gpus":0})", "gpus"},
      {R"({"gpus":-8})", "gpus"},
      {R"({"gpus":1e30})", "gpus"},
      {R"({"gpus":8.5})", "gpus"},
      {R"({"ep":64})", "ep 64 is larger"},
      {R"({"ep":0})", "ep"},
      {R"({"ep":"32"})", "ep"},
      {R"({"slots":255})", "255 slots"},
      {R"({"slots":9999})", "expert twice"},
      {R"({"isl":-1})", "isl"},
      {R"({"isl":1e30})", "isl"},
      {R"({"isl":null})", "isl"},
      {R"({"osl":0})", "osl"},
      {R"({"batch_per_gpu":0})", "batch_per_gpu"},
      {R"({"batch_per_gpu":1e30})", "batch_per_gpu"},
      {R"({"cached_fraction":1.5})", "cached_fraction"},
      {R"({"tokens_per_gpu":-1})", "tokens_per_gpu"},
      {R"({"attention_dp":3})", "attention_dp"},
      {R"({"attention_tp":64})", "attention"},
      {R"({"concurrency":64})", "concurrency"},
      {R"({"prefill_gpus":8})", "prefill_gpus"},
      {R"({"mtp":{"k":1,"accepted_per_step":2.5}})", "accepted_per_step"},
      {R"({"mtp":{"k":1,"accepted_per_step":0.5}})", "accepted_per_step"},
      {R"({"mtp":{"k":-1,"accepted_per_step":1}})", "k"},
      {R"({"mtp":{"k":1,"accepted":1}})", "accepted"},
      {R"({"overlap":"three_batch"})", "overlap"},
      {R"({"eplb":"magic"})", "eplb"},
      {R"({"imbalance":0.5})", "imbalance"},
      {R"({"eplb":"static","imbalance":1.5})", "exclude"},
      {R"({"dtype":{"experts":"fp3"}})", "experts"},
      {R"({"dtype":{"experts":"fp8"}})", "attention"},
      {R"({"dtype":"fp8"})", "dtype"}};
  for (const auto& [change, named] : bad) {
    Json json = plain();
    const Json changes = Json::parse(change);
    for (const auto& [key, value] : changes.items()) json[key] = value;
    const auto s = parse(json);
    ASSERT_FALSE(s) << change;
    EXPECT_EQ(s.error().exit_code(), 2) << change;
    EXPECT_NE(s.error().message().find(named), std::string::npos)
        << change << ": " << s.error().message();
    EXPECT_EQ(s.error().message().find('\n'), std::string::npos) << change;
  }
  for (const char* key : {"phase", "gpus", "ep", "isl", "osl", "dtype"}) {
    Json json = plain();
    json.erase(key);
    const auto s = parse(json);
    ASSERT_FALSE(s) << key;
    EXPECT_NE(s.error().message().find(key), std::string::npos) << s.error().message();
  }
  EXPECT_FALSE(parse(Json::parse("[]")));
}

TEST(PlanScenario, WhatDoesNotFitFailsAndIsNotBadInput) {
  PlanScenario s = scenario(Phase::kDecode, 1, 256);
  const auto weights = predict(model("R1"), gpu("H100 SXM"), s, constants());
  ASSERT_FALSE(weights);
  EXPECT_EQ(weights.error().exit_code(), 1);
  EXPECT_NE(weights.error().message().find("do not fit"), std::string::npos);
  s = scenario(Phase::kDecode, 32, 256);
  s.batch_per_gpu = 1e5;
  const auto batch = predict(model("R1"), gpu("H200 SXM"), s, constants());
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().exit_code(), 1);
}

// The dimensions that decide the prediction, from a config and from the table.
void expect_same(const PlanModel& a, const PlanModel& b) {
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.dense_layers, b.dense_layers);
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.vocab, b.vocab);
  EXPECT_EQ(a.experts, b.experts);
  EXPECT_EQ(a.top_k, b.top_k);
  EXPECT_EQ(a.expert_params(), b.expert_params());
  EXPECT_EQ(a.shared_params(), b.shared_params());
  EXPECT_EQ(a.dense_params() * a.dense_layers, b.dense_params() * b.dense_layers);
  EXPECT_EQ(a.attention_params(), b.attention_params());
  EXPECT_EQ(a.kv_elements(), b.kv_elements());
  EXPECT_EQ(a.window * a.windowed_share, b.window * b.windowed_share);
  EXPECT_EQ(a.mtp_layers, b.mtp_layers);
}

TEST(PlanModel, ConfigsAgreeWithTheTable) {
  const std::pair<const char*, const char*> configs[] = {
      {"R1", R"({"model_type":"deepseek_v3","num_hidden_layers":61,"first_k_dense_replace":3,
        "hidden_size":7168,"intermediate_size":18432,"moe_intermediate_size":2048,
        "n_routed_experts":256,"n_shared_experts":1,"num_experts_per_tok":8,
        "num_attention_heads":128,"num_key_value_heads":128,"q_lora_rank":1536,"kv_lora_rank":512,
        "qk_nope_head_dim":128,"qk_rope_head_dim":64,"v_head_dim":128,"vocab_size":129280,
        "num_nextn_predict_layers":1})"},
      {"DeepSeek-V2-Lite", R"({"model_type":"deepseek_v2","num_hidden_layers":27,
        "first_k_dense_replace":1,"hidden_size":2048,"intermediate_size":10944,
        "moe_intermediate_size":1408,"n_routed_experts":64,"n_shared_experts":2,
        "num_experts_per_tok":6,"num_attention_heads":16,"num_key_value_heads":16,
        "q_lora_rank":null,"kv_lora_rank":512,"qk_nope_head_dim":128,"qk_rope_head_dim":64,
        "v_head_dim":128,"vocab_size":102400})"},
      {"Qwen3-235B", R"({"model_type":"qwen3_moe","num_hidden_layers":94,"hidden_size":4096,
        "intermediate_size":12288,"moe_intermediate_size":1536,"num_experts":128,
        "num_experts_per_tok":8,"decoder_sparse_step":1,"mlp_only_layers":[],"head_dim":128,
        "num_attention_heads":64,"num_key_value_heads":4,"vocab_size":151936,
        "use_sliding_window":false,"sliding_window":null})"},
      {"Mixtral", R"({"model_type":"mixtral","num_hidden_layers":32,"hidden_size":4096,
        "intermediate_size":14336,"num_local_experts":8,"num_experts_per_tok":2,
        "num_attention_heads":32,"num_key_value_heads":8,"vocab_size":32000,
        "sliding_window":null})"},
      {"gpt-oss-120b", R"({"model_type":"gpt_oss","num_hidden_layers":36,"hidden_size":2880,
        "intermediate_size":2880,"num_local_experts":128,"num_experts_per_tok":4,"head_dim":64,
        "experts_per_token":4,"num_attention_heads":64,"num_key_value_heads":8,
        "vocab_size":201088,"sliding_window":128})"},
      {"Maverick", R"({"model_type":"llama4","text_config":{"model_type":"llama4_text",
        "num_hidden_layers":48,"hidden_size":5120,"intermediate_size":8192,
        "intermediate_size_mlp":16384,"num_local_experts":128,"num_experts_per_tok":1,
        "interleave_moe_layer_step":2,"head_dim":128,"num_attention_heads":40,
        "num_key_value_heads":8,"vocab_size":202048,"attention_chunk_size":8192}})"},
      {"GLM-4.5 (", R"({"model_type":"glm4_moe","num_hidden_layers":92,"first_k_dense_replace":3,
        "hidden_size":5120,"intermediate_size":12288,"moe_intermediate_size":1536,
        "n_routed_experts":160,"n_shared_experts":1,"num_experts_per_tok":8,"head_dim":128,
        "num_attention_heads":96,"num_key_value_heads":8,"vocab_size":151552,
        "num_nextn_predict_layers":1})"}};
  for (const auto& [name, text] : configs) {
    SCOPED_TRACE(name);
    const auto m = model_of_config(Json::parse(text), name);
    ASSERT_TRUE(m) << m.error().message();
    expect_same(*m, model(name));
  }
}

TEST(PlanModel, ADenseConfigHasNoExperts) {
  const auto m = model_of_config(
      Json::parse(R"({"model_type":"llama","num_hidden_layers":32,"hidden_size":4096,
        "intermediate_size":14336,"num_attention_heads":32,"num_key_value_heads":8,
        "vocab_size":128256})"),
      "c");
  ASSERT_TRUE(m) << m.error().message();
  EXPECT_EQ(m->experts, 0);
  EXPECT_EQ(m->dense_layers, 32);
  PlanScenario s = scenario(Phase::kDecode, 1, 0);
  const Prediction p = need(predict(*m, gpu("H200 SXM"), s, constants()));
  EXPECT_EQ(p.step.of(StepTerm::kExperts), 0);
  EXPECT_EQ(p.step.of(StepTerm::kDispatch), 0);
  EXPECT_GT(p.step.of(StepTerm::kDenseLayers), 0);
}

TEST(PlanModel, BrokenConfigsAreRefused) {
  for (const char* text : {"{}", "[]", R"({"num_hidden_layers":-1})",
                           R"({"num_hidden_layers":2,"hidden_size":1e30,"vocab_size":9})",
                           R"({"num_hidden_layers":2,"hidden_size":64,"vocab_size":9,
                             "num_attention_heads":4,"intermediate_size":8,"num_experts":4,
                             "num_experts_per_tok":5})"}) {
    const auto m = model_of_config(Json::parse(text), "c.json");
    ASSERT_FALSE(m) << text;
    EXPECT_EQ(m.error().exit_code(), 2);
  }
}

TEST(PlanGpu, OfOnesOwnAndBroken) {
  const Json own = Json::parse(R"({"gpu":"X1","bf16_dense_tflops":500,"fp8_dense_tflops":1000,
    "hbm_gb":96,"hbm_tb_s":3,"scaleup_uni_gb_s_per_gpu":300,"scaleup_domain_gpus":16})");
  const auto g = gpu_of_json(own, "x1.json");
  ASSERT_TRUE(g) << g.error().message();
  EXPECT_EQ(g->hbm_bytes, 96e9);
  EXPECT_EQ(g->scaleup_bytes_per_s, 300e9);
  EXPECT_FALSE(g->blackwell);
  EXPECT_FALSE(g->derived.empty());
  const std::pair<const char*, const char*> bad[] = {
      {R"({"hbm_gb":-1})", "hbm_gb"},     {R"({"hbm_gb":1e30})", "hbm_gb"},
      {R"({"hbm_gb":"many"})", "hbm_gb"}, {R"({"hbm_gb":null})", "hbm_gb"},
      {R"({"tflops":5})", "tflops"},      {R"({"scaleup_domain_gpus":0})", "scaleup_domain"},
      {R"({"hbm_tb_s":[1]})", "hbm_tb_s"}};
  for (const auto& [change, named] : bad) {
    Json json = own;
    const Json changes = Json::parse(change);
    for (const auto& [key, value] : changes.items()) json[key] = value;
    const auto refused = gpu_of_json(json, "x1.json");
    ASSERT_FALSE(refused) << change;
    EXPECT_EQ(refused.error().exit_code(), 2);
    EXPECT_NE(refused.error().message().find(named), std::string::npos)
        << refused.error().message();
  }
}

TEST(PlanTable, NamesMatchExactlyOrByAnUnambiguousPart) {
  const auto rows = table("models.csv");
  EXPECT_EQ(need(find_row(rows, "model", "kimi", "--model")).text("model"), "Kimi-K2-Instruct");
  EXPECT_EQ(need(find_row(rows, "model", "DeepSeek-V2", "--model")).text("model"), "DeepSeek-V2");
  const std::string r1 = need(find_row(rows, "model", "deepseek-r1", "--model")).text("model");
  EXPECT_NE(r1.find("R1"), std::string::npos) << "its words, in any place";
  EXPECT_FALSE(find_row(rows, "model", "deepseek-r2", "--model"));
  EXPECT_FALSE(find_row(rows, "model", "//", "--model"));
  const auto several = find_row(rows, "model", "qwen3", "--model");
  ASSERT_FALSE(several);
  EXPECT_NE(several.error().message().find("Qwen3-30B-A3B"), std::string::npos);
  EXPECT_FALSE(find_row(rows, "model", "", "--model"));
  EXPECT_FALSE(find_row(rows, "model", "nothing", "--model"));
}

TEST(PlanTable, BrokenTablesNameTheLine) {
  for (const char* text : {"", "a,a\n1,2\n", "a,b\n1\n", "a,b\n1,2,3\n", "a,b\n\"1,2\n"}) {
    const auto rows = parse_csv(text, "t.csv");
    ASSERT_FALSE(rows) << text;
    EXPECT_EQ(rows.error().exit_code(), 2);
    EXPECT_NE(rows.error().message().find("t.csv"), std::string::npos);
  }
  const auto good = need(parse_csv("a,b\n\"x \"\"y\"\", z\",2\r\n", "t.csv"));
  ASSERT_EQ(good.size(), 1u);
  EXPECT_EQ(good[0].text("a"), "x \"y\", z");
  EXPECT_EQ(need(good[0].number("b", 0, 9)), 2);
  EXPECT_FALSE(good[0].number("b", 0, 1));
  EXPECT_FALSE(need(parse_csv("b\nnan\n", "t.csv"))[0].number("b", 0, 1));
}

TEST(PlanConstantsTable, EachOnceAndNoOther) {
  auto rows = table("plan_constants.csv");
  ASSERT_TRUE(parse_constants(rows));
  auto twice = rows, unknown = rows, missing = rows;
  twice.push_back(rows[0]);
  unknown[0].cells["name"] = "speed";
  missing.pop_back();
  EXPECT_FALSE(parse_constants(twice));
  EXPECT_FALSE(parse_constants(unknown));
  EXPECT_FALSE(parse_constants(missing));
}

}  // namespace
}  // namespace wingspan::test
