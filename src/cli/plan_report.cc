// A prediction as JSON and as text.
#include <fmt/format.h>

#include "cli/plan.h"
#include "cli/table.h"

namespace wingspan {
namespace {

OrderedJson or_null(double value) { return value > 0 ? OrderedJson(value) : OrderedJson(nullptr); }

}  // namespace

OrderedJson json_of_prediction(const PlanScenario& s, const Prediction& p,
                               const std::vector<std::string>& assumptions) {
  OrderedJson out;
  out["phase"] = name_of(s.phase);
  out["step_ms"] = p.step.step_ms;
  out["itl_ms"] = or_null(p.itl_ms);
  out["ttft_ms"] = or_null(p.ttft_ms);
  out["batch_per_gpu"] = p.batch_per_gpu;
  out["batch_source"] = p.batch_from_memory ? "memory" : "scenario";
  out["tokens_per_s_per_gpu"] = p.tokens_per_s_per_gpu;
  out["total_tokens_per_s_per_gpu"] = or_null(p.total_tokens_per_s_per_gpu);
  out["usd_per_million_output_tokens"] = or_null(p.usd_per_million_output_tokens);
  out["bound_by"] = name_of(p.step.bound);
  out["imbalance"] = p.step.imbalance;
  for (size_t i = 0; i < kStepTerms; ++i) {
    out["breakdown_ms"][name_of(static_cast<StepTerm>(i))] = p.step.ms[i];
  }
  out["memory"] = {{"experts_bytes", p.memory.experts_bytes},
                   {"attention_bytes", p.memory.attention_bytes},
                   {"other_weights_bytes", p.memory.other_weights_bytes},
                   {"buffers_bytes", p.memory.buffers_bytes},
                   {"kv_bytes_free", p.memory.kv_bytes_free},
                   {"kv_bytes_per_token", p.memory.kv_bytes_per_token},
                   {"fits", p.memory.fits},
                   {"max_batch_per_gpu", p.memory.max_batch_per_gpu}};
  out["interval"] = {{"low", p.interval_low}, {"high", p.interval_high}};
  out["assumptions"] = assumptions;
  return out;
}

std::string prediction_text(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
                            const Prediction& p, const std::vector<std::string>& assumptions) {
  std::string out = fmt::format("{} on {}: {}, EP{:g}, {:g} slots, {:g} GPUs\n\n", model.name,
                                gpu.name, name_of(s.phase), s.ep, s.slots, s.gpus);
  out += fmt::format("  {:<20}{:.0f} {} tokens/s/GPU, 80 % within {:.0f} to {:.0f}\n", "throughput",
                     p.tokens_per_s_per_gpu, s.phase == Phase::kPrefill ? "input" : "output",
                     p.interval_low, p.interval_high);
  if (p.total_tokens_per_s_per_gpu > 0) {
    out += fmt::format("  {:<20}{:.0f} tokens/s/GPU with the input\n", "",
                       p.total_tokens_per_s_per_gpu);
  }
  out += fmt::format("  {:<20}{:.3f} ms, bound by {}; imbalance {:.3f}\n",
                     s.phase == Phase::kPrefill ? "pass" : "step", p.step.step_ms,
                     name_of(p.step.bound), p.step.imbalance);
  if (p.itl_ms > 0) {
    out +=
        fmt::format("  {:<20}{:.2f} ms ({:.1f} tokens/s/user)\n", "ITL", p.itl_ms, 1000 / p.itl_ms);
  }
  if (p.ttft_ms > 0) out += fmt::format("  {:<20}{:.1f} ms\n", "TTFT", p.ttft_ms);
  out += fmt::format("  {:<20}{:.2f} {} per GPU{}; {:.1f} sequences fit\n", "batch",
                     p.batch_per_gpu, s.phase == Phase::kPrefill ? "prompts" : "sequences",
                     p.batch_from_memory ? ", as memory allows" : "", p.memory.max_batch_per_gpu);
  if (p.usd_per_million_output_tokens > 0) {
    out += fmt::format("  {:<20}${:.3f} per million output tokens ({} = ${:g}/GPU-hour)\n", "cost",
                       p.usd_per_million_output_tokens, gpu.price_column, gpu.usd_hour);
  }
  out +=
      fmt::format("  {:<20}experts {}, attention {}, other {}, buffers {}, free for KV {}\n\n",
                  "memory", human_bytes(p.memory.experts_bytes),
                  human_bytes(p.memory.attention_bytes), human_bytes(p.memory.other_weights_bytes),
                  human_bytes(p.memory.buffers_bytes), human_bytes(p.memory.kv_bytes_free));
  Table table({"part of the step", "ms", "share"});
  for (size_t i = 0; i < kStepTerms; ++i) {
    if (p.step.ms[i] == 0) continue;
    table.add({name_of(static_cast<StepTerm>(i)), fmt::format("{:.3f}", p.step.ms[i]),
               fmt::format("{:.1f} %", 100 * p.step.ms[i] / p.step.step_ms)});
  }
  table.add({"sum", fmt::format("{:.3f}", p.step.step_ms), "100.0 %"});
  out += table.text() + "\nAssumed:\n";
  for (const std::string& line : assumptions) out += "  - " + line + "\n";
  return out;
}

}  // namespace wingspan
