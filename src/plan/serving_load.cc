#include "plan/serving_load.h"

#include <algorithm>
#include <cmath>

#include "plan/queueing.h"

namespace wingspan {
namespace {

constexpr double kLimit = 0.999;  // utilisation where a queue's formula is cut

struct Sides {
  double prefill_gpus, decode_gpus;  // in whole groups
  double service_s;                  // of one prompt on its GPU, under load
  double alone_s;                    // and in a pass of its own
  double handoff_s;
  double capacity;  // requests per second
};

// Poisson arrivals and prompts of one length.
double wait_s(double servers, double utilisation, double service_s) {
  return wait_mean_s(
      {static_cast<int>(servers), service_s, std::clamp(utilisation, 0.0, kLimit), 1, 0});
}

Sides sides_of(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
               const PlanConstants& c, double rate) {
  Sides out{};
  out.prefill_gpus = std::floor(s.prefill_gpus / s.prefill_ep) * s.prefill_ep;
  out.decode_gpus = std::floor(s.decode_gpus / s.group()) * s.group();
  const double fresh = std::max(1.0, s.isl * (1 - s.cached_fraction));
  out.service_s = fresh / rate;
  PlanScenario one = s;
  one.tokens_per_gpu = std::min(fresh, s.tokens_per_gpu);
  out.alone_s =
      prefill_pass(model, gpu, one, c, s.prefill_ep).step_ms * 1e-3 * fresh / one.tokens_per_gpu;
  const double kv = s.isl * model.layers * model.kv_elements() * dtype_bytes(s.kv);
  const double link = s.gpus <= gpu.scaleup_domain || gpu.scaleout_bytes_per_s <= 0
                          ? gpu.scaleup_bytes_per_s
                          : gpu.scaleout_bytes_per_s;
  out.handoff_s = kv / link;
  out.capacity = out.prefill_gpus / out.service_s;
  return out;
}

}  // namespace

ServingLoad serving_load(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
                         const PlanConstants& c, double batch, double most_batch) {
  ServingLoad out;
  const StepCost pass = prefill_pass(model, gpu, s, c, s.prefill_ep);
  out.prefill_tokens_per_s_per_gpu = s.tokens_per_gpu / pass.step_ms * 1e3;
  const Sides sides = sides_of(model, gpu, s, c, out.prefill_tokens_per_s_per_gpu);
  const auto at = [&](double b) {
    out.batch_per_gpu = b;
    const double step_s = decode_step(model, gpu, s, c, b, s.mean_context()).step_ms * 1e-3;
    out.itl_s = step_s / s.accepted_per_step;
    const double decoded = b * sides.decode_gpus / (out.itl_s * s.osl);
    out.requests_per_s = std::min(decoded, sides.capacity);
    out.prefill_utilisation = out.requests_per_s / sides.capacity;
    out.ttft_s = wait_s(sides.prefill_gpus, out.prefill_utilisation, sides.service_s) +
                 std::max(sides.alone_s, sides.service_s) + sides.handoff_s + step_s;
    return decoded;
  };
  if (!s.concurrency) {
    at(s.batch_per_gpu.value_or(batch));
    return out;
  }
  const double users = *s.concurrency;
  // The users that a batch needs grow with it, without bound at the prefill capacity.
  double low = 0, high = std::min(users / sides.decode_gpus, most_batch);
  const auto needs = [&](double b) {
    const double decoded = at(b);
    if (decoded >= kLimit * sides.capacity) return users * 2;
    return out.requests_per_s * (out.ttft_s + s.osl * out.itl_s);
  };
  for (int i = 0; i < 44; ++i) {
    const double middle = (low + high) / 2;
    (needs(middle) < users ? low : high) = middle;
  }
  at((low + high) / 2);
  // Whoever does not decode waits.
  out.ttft_s = std::max(out.ttft_s, users / out.requests_per_s - s.osl * out.itl_s);
  return out;
}

}  // namespace wingspan
