#include "plan/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/blocks.h"
#include "plan/calibrate.h"
#include "plan/queueing.h"
#include "plan/serving_load.h"

namespace wingspan {
namespace {

struct Inputs {
  const PlanModel& m;
  const PlanGpu& g;
  const PlanScenario& s;
  const PlanConstants& c;
};

double per_million_usd(const PlanGpu& gpu, double tokens_per_s_per_gpu) {
  if (gpu.usd_hour <= 0 || tokens_per_s_per_gpu <= 0) return 0;
  return gpu.usd_hour / (3.6e-3 * tokens_per_s_per_gpu);
}

void set_interval(const Inputs& in, Prediction& p) {
  const LogRange range = throughput_range(in.c, in.s, in.s.group() > in.g.scaleup_domain);
  p.interval_low = p.tokens_per_s_per_gpu * std::exp(-range.down);
  p.interval_high = p.tokens_per_s_per_gpu * std::exp(range.up);
}

Status check_memory(const Inputs& in, const PlanMemory& memory, double batch, const char* group) {
  const bool prefill = batch < 0;
  if (prefill ? !prefill_fits(in.g, memory) : !memory.fits) {
    return failed(
        fmt::format("the weights do not fit: {:.1f} GB of weights and {:.1f} GB of buffers leave "
                    "{:.1f} GB of {:.1f} usable GB for the KV cache of {}",
                    memory.weights() / 1e9, memory.buffers_bytes / 1e9, memory.kv_bytes_free / 1e9,
                    in.c.memory_share * in.g.hbm_bytes / 1e9, group),
        in.g.name, "use a wider ep, fewer slots or a smaller dtype");
  }
  // At the mean context and with every byte of the GPU: beyond that no engine can hold it.
  const double most = memory.max_batch_per_gpu * (in.s.isl + in.s.osl) / in.s.mean_context() *
                      (in.g.hbm_bytes - memory.weights()) / memory.kv_bytes_free;
  if (batch > most) {
    return failed(fmt::format("a batch of {:g} sequences per GPU does not fit, at most {:.1f} do",
                              batch, memory.max_batch_per_gpu),
                  in.g.name, "lower batch_per_gpu or use a wider ep");
  }
  return {};
}

Status check_links(const Inputs& in, double ep) {
  if (ep > in.g.scaleup_domain && in.g.scaleout_bytes_per_s <= 0) {
    return failed(fmt::format("ep {:g} spans scale-up domains of {:g} GPUs, but the hardware has "
                              "no scale-out bandwidth",
                              ep, in.g.scaleup_domain),
                  in.g.name);
  }
  return {};
}

double used_gpus(double gpus, double ep) { return std::floor(gpus / ep) * ep; }

void predict_decode(const Inputs& in, Trace* trace, Prediction& p) {
  p.step = decode_step(in.m, in.g, in.s, in.c, p.batch_per_gpu, in.s.mean_context(), trace);
  const double used = used_gpus(in.s.gpus, in.s.group());
  p.idle_gpus = in.s.gpus - used;
  p.itl_ms = p.step.step_ms / in.s.accepted_per_step;
  p.tokens_per_s_per_gpu = p.batch_per_gpu / p.itl_ms * 1e3 * used / in.s.gpus;
  p.requests_per_s = p.tokens_per_s_per_gpu * in.s.gpus / in.s.osl;
}

void predict_prefill(const Inputs& in, Trace* trace, Prediction& p) {
  p.step = prefill_pass(in.m, in.g, in.s, in.c, in.s.ep, trace);
  const double used = used_gpus(in.s.gpus, in.s.group());
  p.idle_gpus = in.s.gpus - used;
  p.ttft_ms = p.step.step_ms;
  p.prefill_tokens_per_s_per_gpu = in.s.tokens_per_gpu / p.step.step_ms * 1e3;
  p.tokens_per_s_per_gpu = p.prefill_tokens_per_s_per_gpu * used / in.s.gpus;
}

void predict_aggregated(const Inputs& in, Trace* trace, Prediction& p) {
  const PlanScenario& s = in.s;
  const StepCost prefill = prefill_pass(in.m, in.g, s, in.c, s.ep);
  p.prefill_tokens_per_s_per_gpu = s.tokens_per_gpu / prefill.step_ms * 1e3;
  p.step = decode_step(in.m, in.g, s, in.c, p.batch_per_gpu, s.mean_context(), trace);
  const double wait = s.prefill_wait_steps;
  const PromptTime prompt = prompt_time(prefill, s);
  const auto [starts, most, fresh, stall_ms] = prompt_stall(prompt, s, p.batch_per_gpu);
  p.step.ms[static_cast<size_t>(StepTerm::kBubbles)] += stall_ms;
  p.step.step_ms += stall_ms;
  // A stall is prefill: it counts for what binds prefill.
  p.step.bound_ms[static_cast<size_t>(prefill.bound)] += stall_ms;
  const auto largest = std::max_element(p.step.bound_ms.begin(), p.step.bound_ms.end());
  p.step.bound = static_cast<Bound>(largest - p.step.bound_ms.begin());
  if (trace != nullptr) {
    trace->push_back(
        {StepTerm::kBubbles,
         "stall = new prompt tokens * (E[max over ranks of Poisson(starts*W)]/W * own + starts * "
         "experts' time per token), together 1 / (prefill rate * tp)",
         fmt::format("E[max of {:g} Poisson({:.4g})]/{:g} = {:.4g}, {:g} * ({:.4g} * {:.4g} us + "
                     "{:.4g} * {:.4g} us), 1 / ({:.5g} tokens/s * {:g})",
                     s.attention_dp, starts * wait, wait, most, fresh, most, prompt.own_s * 1e6,
                     starts, prompt.spread_s * 1e6, p.prefill_tokens_per_s_per_gpu, s.attention_tp),
         stall_ms * 1e3,
         1,
         {"prefill_share"}});
  }
  const double used = used_gpus(s.gpus, s.group());
  p.idle_gpus = s.gpus - used;
  p.itl_ms = p.step.step_ms / s.accepted_per_step;
  p.tokens_per_s_per_gpu = p.batch_per_gpu / p.itl_ms * 1e3 * used / s.gpus;
  p.requests_per_s = p.tokens_per_s_per_gpu * s.gpus / s.osl;
  p.total_tokens_per_s_per_gpu = p.tokens_per_s_per_gpu * (1 + s.isl / s.osl);
}

void predict_disaggregated(const Inputs& in, Trace* trace, Prediction& p) {
  const PlanScenario& s = in.s;
  const double most = p.memory.max_batch_per_gpu;
  const ServingLoad load = serving_load(in.m, in.g, s, in.c, p.batch_from_memory ? most : 0, most);
  p.batch_per_gpu = load.batch_per_gpu;
  p.step = decode_step(in.m, in.g, s, in.c, load.batch_per_gpu, s.mean_context(), trace);
  p.itl_ms = p.step.step_ms / s.accepted_per_step;
  p.ttft_ms = load.ttft_s * 1e3;
  p.requests_per_s = load.requests_per_s;
  p.prefill_tokens_per_s_per_gpu = load.prefill_tokens_per_s_per_gpu;
  p.prefill_utilisation = load.prefill_utilisation;
  p.idle_gpus =
      s.gpus - used_gpus(s.prefill_gpus, s.prefill_ep) - used_gpus(s.decode_gpus, s.group());
  p.tokens_per_s_per_gpu = load.requests_per_s * s.osl / s.gpus;
  p.total_tokens_per_s_per_gpu = load.requests_per_s * (s.osl + s.isl) / s.gpus;
}

}  // namespace

// Sequences that start per step on one rank are Poisson; every rank waits for the one with the
// most, but the experts' part is spread over the group.
PromptStall prompt_stall(const PromptTime& time, const PlanScenario& s, double batch_per_gpu) {
  const double wait = s.prefill_wait_steps;
  PromptStall out;
  out.starts = batch_per_gpu * s.attention_tp * s.accepted_per_step / s.osl;
  out.most = poisson_max_mean(out.starts * wait, s.attention_dp) / wait;
  out.tokens = s.isl * (1 - s.cached_fraction);
  out.ms = time.seconds(out.most * out.tokens, out.starts * out.tokens) * 1e3;
  return out;
}

Expected<Prediction> predict(const PlanModel& model, const PlanGpu& gpu,
                             const PlanScenario& scenario, const PlanConstants& constants,
                             Trace* trace) {
  const Inputs in{model, gpu, scenario, constants};
  Prediction p;
  p.memory = plan_memory(model, gpu, scenario, constants, scenario.ep, scenario.slots);
  const bool split = scenario.phase == Phase::kDisaggregated;
  p.batch_from_memory = !scenario.batch_per_gpu && !scenario.concurrency;
  p.batch_per_gpu = scenario.batch_per_gpu.value_or(p.memory.max_batch_per_gpu);
  if (scenario.phase == Phase::kPrefill) {
    p.batch_from_memory = false;
    p.batch_per_gpu =
        scenario.tokens_per_gpu / std::max(1.0, scenario.isl * (1 - scenario.cached_fraction));
  }
  WS_RETURN_IF_ERROR(check_links(in, scenario.group()));
  WS_RETURN_IF_ERROR(check_memory(in, p.memory,
                                  scenario.phase == Phase::kPrefill ? -1 : p.batch_per_gpu,
                                  split ? "the decode group" : "a rank"));
  if (split) {
    WS_RETURN_IF_ERROR(check_links(in, scenario.prefill_ep));
    const double slots = scenario.prefill_ep == scenario.ep ? scenario.slots : model.experts;
    p.prefill_memory = plan_memory(model, gpu, scenario, constants, scenario.prefill_ep, slots);
    WS_RETURN_IF_ERROR(check_memory(in, p.prefill_memory, -1, "the prefill group"));
  }
  switch (scenario.phase) {
    case Phase::kDecode:
      predict_decode(in, trace, p);
      break;
    case Phase::kPrefill:
      predict_prefill(in, trace, p);
      break;
    case Phase::kAggregated:
      predict_aggregated(in, trace, p);
      break;
    case Phase::kDisaggregated:
      predict_disaggregated(in, trace, p);
      break;
  }
  if (scenario.phase != Phase::kPrefill) {
    p.usd_per_million_output_tokens = per_million_usd(gpu, p.tokens_per_s_per_gpu);
  }
  set_interval(in, p);
  return p;
}

}  // namespace wingspan
