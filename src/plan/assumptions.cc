#include <fmt/format.h>

#include "plan/predict.h"

namespace wingspan {

void add_assumptions(const PlanModel& m, const PlanGpu& g, const PlanScenario& s,
                     const PlanConstants& c, const Prediction& p, std::vector<std::string>* out) {
  const auto say = [out](std::string text) { out->push_back(std::move(text)); };
  if (p.batch_from_memory) {
    say(fmt::format("batch_per_gpu = {:.2f}: the most that fits at full length isl + osl",
                    p.batch_per_gpu));
  } else if (s.phase != Phase::kPrefill && p.batch_per_gpu > p.memory.max_batch_per_gpu) {
    say(
        fmt::format("a batch of {:.1f} is more than the {:.1f} that fit at full length: it holds "
                    "only while sequences are shorter",
                    p.batch_per_gpu, p.memory.max_batch_per_gpu));
  }
  if (p.memory.kv_bytes_free < 0) {
    say(fmt::format(
        "weights and buffers exceed the usable memory by {:.1f} GB: this only runs with "
        "a part of them outside HBM or a larger usable share",
        -p.memory.kv_bytes_free / 1e9));
  }
  if (s.phase != Phase::kPrefill) {
    say(fmt::format("decode sees a mean context of isl + osl/2 = {:g} tokens", s.mean_context()));
  }
  if (s.phase == Phase::kDisaggregated) {
    say(
        fmt::format("prefill: EP{:g}, {:.0f} tokens/s/GPU, {:.0f} % in use; KV hand-off counted in "
                    "the TTFT",
                    s.prefill_ep, p.prefill_tokens_per_s_per_gpu, 100 * p.prefill_utilisation));
  }
  if (s.phase == Phase::kAggregated) {
    say(
        fmt::format("prefill at {:.0f} tokens/s/GPU; every rank waits for the one that starts most "
                    "prompts",
                    p.prefill_tokens_per_s_per_gpu));
  }
  if (p.idle_gpus > 0) {
    say(fmt::format("{:g} GPUs fill no group: idle, and counted in figures per GPU and in cost",
                    p.idle_gpus));
  }
  if (m.experts > 0) {
    say(s.balancing == Balancing::kGiven
            ? fmt::format("imbalance {:.4g} as given", p.step.imbalance)
            : fmt::format("imbalance {:.4g} (max over mean rank load) from eplb {}",
                          p.step.imbalance, name_of(s.balancing)));
    say(fmt::format("shared expert and dense MLP in the attention's dtype {}; head in bf16",
                    name_of(s.attention)));
  }
  const bool four_bits = dtype_bytes(s.experts) < 1;
  if (four_bits && g.fp4 <= 0) {
    say(fmt::format("{} has no FP4 units: {} experts are widened to bf16 before they multiply",
                    g.name, name_of(s.experts)));
  }
  if (dtype_bytes(s.experts) == 1 && g.fp8 <= 0) say(g.name + " has no 8-bit units: bf16 peak");
  if (s.ep > g.scaleup_domain) {
    say(fmt::format("EP{:g} spans scale-up domains of {:g} GPUs: the exchange crosses the network",
                    s.ep, g.scaleup_domain));
  }
  if (!g.derived.empty()) say("hardware: " + g.derived.substr(0, g.derived.size() - 2));
  say(fmt::format("usable memory {:g} of HBM, {:g} GB of it for graphs, collectives and windows",
                  c.memory_share, c.buffer_gb));
  if (g.usd_hour > 0) {
    say(fmt::format("price: {} = ${:g} per GPU-hour, at full use", g.price_column, g.usd_hour));
  } else {
    say("no price of this GPU is known: no cost");
  }
}

}  // namespace wingspan
