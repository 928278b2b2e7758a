// Bytes as what a user gives the planner: a scenario, a config.json, a GPU and a table. What is
// accepted gives a prediction of finite figures or an error.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "plan/explain.h"

using wingspan::Json;

namespace {

const wingspan::PlanModel& some_model() {
  static const wingspan::PlanModel m = [] {
    wingspan::PlanModel r;
    r.name = "m";
    r.layers = 61;
    r.dense_layers = 3;
    r.hidden = 7168;
    r.dense_width = 18432;
    r.vocab = 129280;
    r.experts = 256;
    r.top_k = 8;
    r.expert_width = r.shared_width = 2048;
    r.mla = true;
    r.heads = 128;
    r.q_lora = 1536;
    r.kv_lora = 512;
    r.nope = r.v_dim = 128;
    r.rope = 64;
    return r;
  }();
  return m;
}

wingspan::PlanGpu some_gpu() {
  wingspan::PlanGpu g;
  g.name = "g";
  g.bf16 = 2.5e15;
  g.fp8 = 5e15;
  g.fp4 = 1e16;
  g.hbm_bytes = 186e9;
  g.hbm_bytes_per_s = 8e12;
  g.scaleup_bytes_per_s = 9e11;
  g.scaleup_domain = 72;
  g.scaleout_bytes_per_s = 5e10;
  g.exponentials_per_s = 4.5e12;
  g.blackwell = true;
  g.usd_hour = 4;
  return g;
}

// Any constants do; all of them 1 keeps every formula defined.
wingspan::PlanConstants some_constants() {
  wingspan::PlanConstants c;
#define WINGSPAN_PLAN_CONSTANT(name) c.name = 1;
#include "plan/constants.inc"
#undef WINGSPAN_PLAN_CONSTANT
  c.knee_power = 4;
  c.prefill_share = c.memory_share = 0.9;
  c.two_batch_overlap = 0.85;
  return c;
}

void check(const wingspan::PlanModel& m, const wingspan::PlanGpu& g,
           const wingspan::PlanScenario& s) {
  const auto e = wingspan::explain(m, g, s, some_constants());
  if (!e) return;
  const wingspan::Prediction& p = e->prediction;
  const bool finite = std::isfinite(p.step.step_ms) && std::isfinite(p.tokens_per_s_per_gpu) &&
                      std::isfinite(p.itl_ms) && std::isfinite(p.ttft_ms);
  if (!finite || p.step.step_ms <= 0 || p.tokens_per_s_per_gpu < 0) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)wingspan::parse_csv(text, "f");
  const auto json = wingspan::parse_json(text, "f");
  if (!json) return 0;
  if (const auto s = wingspan::parse_scenario(*json, "f", some_model(), nullptr)) {
    check(some_model(), some_gpu(), *s);
    const auto again =
        wingspan::parse_scenario(Json(wingspan::json_of_scenario(*s)), "f", some_model(), nullptr);
    if (!again) __builtin_trap();
  }
  wingspan::PlanScenario plain;
  plain.osl = plain.isl = 1024;
  if (const auto m = wingspan::model_of_config(*json, "f")) {
    plain.slots = m->experts;
    check(*m, some_gpu(), plain);
  }
  plain.slots = some_model().experts;
  if (const auto g = wingspan::gpu_of_json(*json, "f")) check(some_model(), *g, plain);
  return 0;
}
