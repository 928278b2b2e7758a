#include "model/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "kernels/numerics.h"

namespace wingspan {

Status check_sampling(const SamplingRule& rule) {
  if (!(rule.temperature >= 0 && std::isfinite(rule.temperature))) {
    return invalid_input("the temperature must be a finite number of at least 0", "--temperature");
  }
  if (!(rule.top_p > 0 && rule.top_p <= 1)) {
    return invalid_input("top-p must lie in (0, 1]", "--top-p");
  }
  if (rule.top_k < 0) return invalid_input("top-k must not be negative", "--top-k");
  return {};
}

Sampler::Sampler(int64_t vocab) { candidates_.reserve(static_cast<size_t>(vocab)); }

int32_t argmax(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<int32_t>(best);
}

LogitSummary summarize(const Kernels& kernels, std::span<const float> logits) {
  LogitSummary out;
  out.sum = kernels.log_sum_exp(logits.data(), static_cast<int64_t>(logits.size()));
  // The first that equals the maximum is argmax() but for a NaN in front, which nothing beats.
  const bool nan_first = logits[0] != logits[0];
  const auto first = std::find(logits.begin(), logits.end(), out.sum.max);
  out.best = nan_first || first == logits.end() ? argmax(logits)
                                                : static_cast<int32_t>(first - logits.begin());
  return out;
}

float log_probability(std::span<const float> logits, const LogSumExp& sum, int32_t token) {
  const double distance =
      static_cast<double>(logits[static_cast<size_t>(token)]) - static_cast<double>(sum.max);
  return static_cast<float>(distance - log_contract(sum.sum));
}

int32_t Sampler::sample(const SamplingRule& rule, std::span<const float> logits,
                        const LogitSummary& summary, int64_t position) {
  if (rule.temperature == 0 || rule.top_k == 1) return summary.best;
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  }
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const bool limited = rule.top_k > 0 && rule.top_k < static_cast<int64_t>(logits.size());
  if (limited || rule.top_p < 1) {
    const auto keep = limited ? candidates_.begin() + rule.top_k : candidates_.end();
    std::partial_sort(candidates_.begin(), keep, candidates_.end(), before);
    candidates_.erase(keep, candidates_.end());
  }
  // In double, in a fixed order: weights relative to the largest logit.
  float top = candidates_[0].logit;
  for (const Candidate& c : candidates_) top = std::max(top, c.logit);
  const auto weight = [&](const Candidate& c) {
    const double x = (static_cast<double>(c.logit) - static_cast<double>(top)) / rule.temperature;
    return static_cast<double>(exp_contract(static_cast<float>(x)));
  };
  double total = 0;
  for (const Candidate& c : candidates_) total += weight(c);
  size_t kept = candidates_.size();
  if (rule.top_p < 1) {
    const double enough = rule.top_p * total;
    double sum = 0;
    for (kept = 0; kept < candidates_.size() && sum < enough; ++kept) {
      sum += weight(candidates_[kept]);
    }
    total = sum;
  }
  const double target = philox_uniform(rule.seed, static_cast<uint64_t>(position)) * total;
  double sum = 0;
  for (size_t i = 0; i < kept; ++i) {
    sum += weight(candidates_[i]);
    if (target < sum) return candidates_[i].id;
  }
  return candidates_[kept - 1].id;
}

}  // namespace wingspan
