// The figures of one deployment: rates, waiting, quantiles.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "plan/queueing.h"
#include "plan/search.h"
#include "plan/search_frontier.h"

namespace wingspan {
namespace {

// p-quantile over the mean of a log-normal quantity with that squared coefficient of variation.
double lognormal_factor(double variation, double p) {
  const double v = std::log1p(variation);
  return std::exp(std::sqrt(v) * normal_quantile(p) - v / 2);
}

// Waiting for a lane, the prompt itself, the hand-off, the first step.
Quantiles prefill_ttft_ms(const ServingModel& model, const SearchLimits& l, const Candidate& c) {
  const PrefillFigures f = model.prefill(c.prefill, c.decode);
  const double tokens = l.isl * (1 - l.cached_fraction);
  const double service_ms = f.lanes * tokens / f.tokens_per_s * 1e3;
  const QueueLoad load{c.prefill_instances * f.lanes, service_ms * 1e-3, c.prefill_utilisation,
                       l.arrival_variation, l.length_variation};
  const QueueWait queue = queue_wait(load);
  const double rest_ms = service_ms + f.handoff_ms + c.step_ms;
  // A long wait and a long prompt seldom meet: their excesses add as squares. The step that runs
  // when a prompt arrives has up to a whole step to go.
  const auto quantile = [&](double p) {
    const double wait = queue.quantile_s(p) * 1e3;
    const double longer = service_ms * (lognormal_factor(l.length_variation, p) - 1);
    return rest_ms + p * c.step_ms + (longer > 0 ? std::hypot(wait, longer) : wait + longer);
  };
  return {queue.mean_s * 1e3 + rest_ms, quantile(0.5), quantile(0.95), quantile(0.99),
          quantile(l.percentile / 100)};
}

// Largest of `ranks` Poisson numbers: the least k with P(all ≤ k) ≥ p.
int poisson_max_quantile(double mean, double ranks, double p) {
  double term = std::exp(-mean), at_most = term;
  int k = 0;
  for (; std::pow(std::min(1.0, at_most), ranks) < p && k < 10000; at_most += term) {
    ++k;
    term *= mean / k;
  }
  return k;
}

// An aggregated group reads new prompts between steps: the rest of a step (or of the steps that
// prompts wait), then the step that reads, as long as the rank with most prompts needs.
Quantiles aggregated_ttft_ms(const ServingModel& model, const SearchLimits& l, const Candidate& c) {
  const double ranks = c.decode.attention_ranks(), wait = c.decode.prefill_wait_steps;
  const double mean_step_ms = c.itl_ms.mean * c.accepted_per_step;
  const double prompts = c.requests_per_s / c.decode_instances / ranks * mean_step_ms * 1e-3 * wait;
  const PromptTime time = model.prompt_time(c.decode);
  const double fresh = l.isl * (1 - l.cached_fraction);
  // A prompt that waits is read at least by its own rank.
  const double mean = std::max(prompts, 1 / ranks);
  const auto read_ms = [&](double most) { return time.seconds(most, mean) * fresh * 1e3; };
  const auto longer = [&](double p) { return lognormal_factor(l.length_variation, p); };
  const auto quantile = [&](double p) {
    const int most = std::max(1, poisson_max_quantile(prompts, ranks, p));
    return mean_step_ms * wait * p + c.step_ms + read_ms(most) * std::max(1.0, longer(p));
  };
  const double mean_prompts = std::max(1 + prompts, poisson_max_mean(prompts, ranks));
  return {mean_step_ms * wait / 2 + c.step_ms + read_ms(mean_prompts), quantile(0.5),
          quantile(0.95), quantile(0.99), quantile(l.percentile / 100)};
}

}  // namespace

Candidate evaluate_candidate(const ServingModel& model, const SearchLimits& l,
                             const Candidate& shape, int paid_gpus) {
  Candidate c = shape;
  const bool aggregated = c.prefill_instances == 0;
  c.aggregated = aggregated;
  const StepFigures step = model.step(c.decode, c.batch_per_gpu, aggregated);
  c.step_ms = step.step_ms;
  c.accepted_per_step = step.accepted_per_step;
  c.bound_by = step.bound_by;
  const auto itl = [&](double p) {
    return itl_quantile_ms(model, c.decode, aggregated, c.batch_per_gpu, normal_quantile(p));
  };
  c.itl_ms = {step.itl_ms, step.itl_ms, itl(0.95), itl(0.99), itl(l.percentile / 100)};
  c.requests_per_s = c.decode_instances * group_rate(c.decode, c.batch_per_gpu, step.itl_ms, l.osl);
  const int used =
      c.decode_instances * c.decode.ep + (aggregated ? 0 : c.prefill_instances * c.prefill.ep);
  WS_CHECK(used <= paid_gpus, "{} of {} GPUs", used, paid_gpus);
  c.gpus = paid_gpus;
  c.idle_gpus = paid_gpus - used;
  c.tokens_per_s_per_user = 1e3 / step.itl_ms;
  c.tokens_per_s_per_gpu = c.requests_per_s * l.osl / paid_gpus;
  if (aggregated) {
    c.ttft_ms = aggregated_ttft_ms(model, l, c);
    return c;
  }
  const double tokens = c.requests_per_s * l.isl * (1 - l.cached_fraction);
  c.prefill_utilisation =
      tokens / (c.prefill_instances * model.prefill(c.prefill, c.decode).tokens_per_s);
  c.ttft_ms = prefill_ttft_ms(model, l, c);
  return c;
}

bool better(const SearchLimits& limits, const Candidate& a, const Candidate& b) {
  if (limits.rate_rps && a.gpus != b.gpus) return a.gpus < b.gpus;
  if (!limits.rate_rps && a.tokens_per_s_per_gpu != b.tokens_per_s_per_gpu) {
    return a.tokens_per_s_per_gpu > b.tokens_per_s_per_gpu;
  }
  if (a.tokens_per_s_per_user != b.tokens_per_s_per_user) {
    return a.tokens_per_s_per_user > b.tokens_per_s_per_user;
  }
  if (a.used_gpus() != b.used_gpus()) return a.used_gpus() < b.used_gpus();
  return a.decode.ep < b.decode.ep;
}

}  // namespace wingspan
