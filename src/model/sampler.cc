#include "model/sampler.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rng.h"
#include "kernels/finite.h"
#include "kernels/numerics.h"

namespace wingspan {

Status check_sampling(const SamplingRule& rule) {
  const auto wrong = [](const char* what, const char* field) { return invalid_input(what, field); };
  if (!(rule.temperature >= 0 && std::isfinite(rule.temperature))) {
    return wrong("the temperature must be a finite number of at least 0", "temperature");
  }
  if (!(rule.top_p > 0 && rule.top_p <= 1)) return wrong("top_p must lie in (0, 1]", "top_p");
  if (rule.top_k < 0) return wrong("top_k must not be negative", "top_k");
  if (!(rule.min_p >= 0 && rule.min_p <= 1)) return wrong("min_p must lie in [0, 1]", "min_p");
  if (!(std::abs(rule.presence_penalty) <= 2)) {
    return wrong("the presence penalty must lie in [-2, 2]", "presence_penalty");
  }
  if (!(std::abs(rule.frequency_penalty) <= 2)) {
    return wrong("the frequency penalty must lie in [-2, 2]", "frequency_penalty");
  }
  if (!(rule.repetition_penalty > 0 && std::isfinite(rule.repetition_penalty))) {
    return wrong("the repetition penalty must be a finite number above 0", "repetition_penalty");
  }
  for (const auto& [id, bias] : rule.logit_bias) {
    if (!(std::abs(bias) <= 100)) return wrong("a bias must lie in [-100, 100]", "logit_bias");
  }
  return {};
}

Sampler::Sampler(int64_t vocab)
    : adjusted_(static_cast<size_t>(vocab)), counts_(static_cast<size_t>(vocab)) {
  candidates_.reserve(static_cast<size_t>(vocab));
}

int32_t argmax(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<int32_t>(best);
}

LogitSummary summarize(const Kernels& kernels, std::span<const float> logits) {
  LogitSummary out;
  out.finite = all_finite(logits.data(), static_cast<int64_t>(logits.size()));
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

void top_tokens(std::span<const float> logits, int count, std::vector<int32_t>& out) {
  const auto before = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  out.clear();
  if (count <= 0) return;
  // A heap of the best so far, its front being the worst of them.
  for (int32_t id = 0; id < static_cast<int32_t>(logits.size()); ++id) {
    if (static_cast<int>(out.size()) == count) {
      if (!before(id, out.front())) continue;
      std::pop_heap(out.begin(), out.end(), before);
      out.pop_back();
    }
    out.push_back(id);
    std::push_heap(out.begin(), out.end(), before);
  }
  std::sort_heap(out.begin(), out.end(), before);
}

uint64_t hash_logits(std::span<const float> logits) {
  return XXH3_64bits(logits.data(), logits.size() * sizeof(float));
}

int32_t Sampler::sample(const SamplingRule& rule, const TokenHistory& history,
                        std::span<const float> logits, const LogitSummary& summary,
                        int64_t position) {
  const auto adjusted = adjust(rule, history, logits);
  if (rule.temperature == 0 || rule.top_k == 1) {
    return adjusted.data() == logits.data() ? summary.best : argmax(adjusted);
  }
  return draw(rule, adjusted, position);
}

// The logits themselves where no rule changes one.
std::span<const float> Sampler::adjust(const SamplingRule& rule, const TokenHistory& history,
                                       std::span<const float> logits) {
  const bool penalties =
      rule.presence_penalty != 0 || rule.frequency_penalty != 0 || rule.repetition_penalty != 1;
  if (!penalties && rule.logit_bias.empty() && rule.forbidden.empty()) return logits;
  std::copy(logits.begin(), logits.end(), adjusted_.begin());
  for (const auto& [id, bias] : rule.logit_bias) adjusted_[static_cast<size_t>(id)] += bias;
  if (penalties) penalise(rule, history);
  // Last, so that no bias brings a forbidden id back.
  for (const int32_t id : rule.forbidden) {
    if (id >= 0 && id < static_cast<int32_t>(adjusted_.size())) {
      adjusted_[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
    }
  }
  return adjusted_;
}

void Sampler::penalise(const SamplingRule& rule, const TokenHistory& history) {
  const auto repeat = [&](int32_t id) {
    if (counts_[static_cast<size_t>(id)]++ > 0) return;  // once for each id
    float& logit = adjusted_[static_cast<size_t>(id)];
    const double x = static_cast<double>(logit);
    logit = static_cast<float>(x > 0 ? x / rule.repetition_penalty : x * rule.repetition_penalty);
  };
  const auto clear = [&](std::span<const int32_t> ids) {
    for (const int32_t id : ids) counts_[static_cast<size_t>(id)] = 0;
  };
  if (rule.repetition_penalty != 1) {
    for (const int32_t id : history.prompt) repeat(id);
    for (const int32_t id : history.output) repeat(id);
    clear(history.prompt);
    clear(history.output);
  }
  if (rule.presence_penalty == 0 && rule.frequency_penalty == 0) return;
  for (const int32_t id : history.output) ++counts_[static_cast<size_t>(id)];
  for (const int32_t id : history.output) {
    int32_t& count = counts_[static_cast<size_t>(id)];
    if (count == 0) continue;
    float& logit = adjusted_[static_cast<size_t>(id)];
    logit = static_cast<float>(static_cast<double>(logit) - count * rule.frequency_penalty -
                               rule.presence_penalty);
    count = 0;
  }
}

int32_t Sampler::draw(const SamplingRule& rule, std::span<const float> logits, int64_t position) {
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
    // At least one: a tiny top-p times the total can be flushed to zero.
    for (kept = 0; kept < candidates_.size() && (kept == 0 || sum < enough); ++kept) {
      sum += weight(candidates_[kept]);
    }
    total = sum;
  }
  if (rule.min_p > 0) {
    // In the order at hand, which is by probability where top-k or top-p are given.
    const double least = rule.min_p;  // the most probable token has weight 1
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(kept);
    const auto rest = std::remove_if(candidates_.begin(), end,
                                     [&](const Candidate& c) { return weight(c) < least; });
    kept = static_cast<size_t>(rest - candidates_.begin());
    total = 0;
    for (size_t i = 0; i < kept; ++i) total += weight(candidates_[i]);
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
