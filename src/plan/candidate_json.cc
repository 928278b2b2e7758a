#include "plan/candidate_json.h"

#include <fmt/format.h>

#include <numeric>

namespace wingspan {
namespace {

OrderedJson quantiles_json(const Quantiles& q) {
  return {{"mean", q.mean}, {"p50", q.p50}, {"p95", q.p95}, {"p99", q.p99}};
}

OrderedJson cost_json(double value, const CandidateContext& context) {
  return context.usd_gpu_hour > 0 ? OrderedJson(value) : OrderedJson(nullptr);
}

}  // namespace

std::string prefill_to_decode(const Candidate& c) {
  if (c.aggregated) return "-";
  const int common = std::gcd(c.prefill_instances, c.decode_instances);
  return fmt::format("{}:{}", c.prefill_instances / common, c.decode_instances / common);
}

TokenCost token_cost(const Candidate& c, const CandidateContext& context) {
  const double usd_s = c.gpus * context.usd_gpu_hour / 3600;
  const double output = c.requests_per_s * context.osl, input = c.requests_per_s * context.isl;
  return {usd_s / output * 1e6, usd_s / input * 1e6, usd_s / (input + output) * 1e6};
}

OrderedJson candidate_json(const Candidate& c, const CandidateContext& context) {
  const TokenCost cost = token_cost(c, context);
  OrderedJson j;
  j["scenario"] = context.scenario(c);
  j["prefill"] = {{"instances", c.prefill_instances},
                  {"gpus_per_instance", c.aggregated ? 0 : c.prefill.ep},
                  {"ep", c.aggregated ? 0 : c.prefill.ep}};
  j["decode"] = {{"instances", c.decode_instances},
                 {"gpus_per_instance", c.decode.ep},
                 {"ep", c.decode.ep},
                 {"slots", c.decode.slots},
                 {"batch_per_gpu", c.batch_per_gpu}};
  j["prefill_to_decode"] = prefill_to_decode(c);
  j["idle_gpus"] = c.idle_gpus;
  j["requests_per_s"] = c.requests_per_s;
  j["tokens_per_s_per_user"] = c.tokens_per_s_per_user;
  j["tokens_per_s_per_gpu"] = c.tokens_per_s_per_gpu;
  j["ttft_ms"] = quantiles_json(c.ttft_ms);
  j["itl_ms"] = quantiles_json(c.itl_ms);
  j["usd_per_million_output_tokens"] = cost_json(cost.output, context);
  j["usd_per_million_total_tokens"] = cost_json(cost.total, context);
  j["bound_by"] = c.bound_by;
  return j;
}

}  // namespace wingspan
