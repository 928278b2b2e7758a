#include "moe/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/fault.h"
#include "kernels/numerics.h"

namespace wingspan {
namespace {

bool better(float a, float b, bool last_wins) { return a > b || (last_wins && a == b); }

// The indices of the `count` largest of n, in descending order, the lowest index first of equals:
// one pass, which as a rule compares each value with the least of those held and goes on.
void best_of(const float* x, int n, int count, int32_t* ids) {
  const bool last_wins = fault_is(Fault::kTiesToHighestIndex);
  int held = 0;
  for (int i = 0; i < n; ++i) {
    const float value = x[i];
    if (held == count && !better(value, x[ids[count - 1]], last_wins)) continue;
    int at = held < count ? held++ : count - 1;
    for (; at > 0 && better(value, x[ids[at - 1]], last_wins); --at) ids[at] = ids[at - 1];
    ids[at] = i;
  }
}

float group_score(const float* z, int size, GroupScore kind) {
  float first = -std::numeric_limits<float>::infinity(), second = first;
  for (int i = 0; i < size; ++i) {
    if (z[i] > first) {
      second = first;
      first = z[i];
    } else if (z[i] > second) {
      second = z[i];
    }
  }
  return kind == GroupScore::kMax || size < 2 ? first : first + second;
}

// Masks the experts of all but the best groups: a group stays if fewer than `top_groups` beat it.
// `scores` has room for a score of each group.
void keep_best_groups(const RouterSpec& spec, float* z, float* scores) {
  const int size = spec.experts / spec.groups;
  const bool last_wins = fault_is(Fault::kTiesToHighestIndex);
  for (int g = 0; g < spec.groups; ++g) {
    scores[g] = group_score(z + g * size, size, spec.group_score);
  }
  for (int g = 0; g < spec.groups; ++g) {
    int ahead = 0;
    for (int other = 0; other < spec.groups; ++other) {
      const bool earlier = last_wins ? other > g : other < g;
      ahead += scores[other] > scores[g] || (scores[other] == scores[g] && earlier);
    }
    if (ahead < spec.top_groups) continue;
    std::fill(z + g * size, z + (g + 1) * size, -std::numeric_limits<float>::infinity());
  }
}

// Once a group has given its share, its other experts are masked.
void close_full_group(const RouterSpec& spec, const int32_t* ids, int chosen, float* z) {
  const int size = spec.experts / spec.groups, group = ids[chosen - 1] / size;
  int taken = 0;
  for (int j = 0; j < chosen; ++j) taken += ids[j] / size == group;
  if (taken < spec.per_group) return;
  std::fill(z + group * size, z + (group + 1) * size, -std::numeric_limits<float>::infinity());
}

}  // namespace

Status RouterSpec::validate() const {
  if (experts < 1 || top_k < 1 || top_k > experts) {
    return invalid_input(fmt::format("top-{} of {} experts is not possible", top_k, experts),
                         "router");
  }
  if (group_score != GroupScore::kNone &&
      (groups < 1 || experts % groups != 0 || top_groups < 1 || top_groups > groups ||
       top_k > experts / groups * top_groups)) {
    return invalid_input(
        fmt::format("top-{} of {} experts in {} groups of which {} are kept is not possible", top_k,
                    experts, groups, top_groups),
        "router");
  }
  if (per_group > 0 && (group_score == GroupScore::kNone || per_group > experts / groups ||
                        top_k > per_group * top_groups)) {
    return invalid_input(fmt::format("top-{} with {} from each of {} groups is not possible", top_k,
                                     per_group, top_groups),
                         "router");
  }
  return {};
}

void route_token(const Kernels& kernels, const RouterSpec& spec, const float* logits,
                 const float* bias, int32_t* ids, float* weights, float* scratch) {
  const int n = spec.experts;
  float* score = scratch;
  float* z = scratch + n;
  const bool on_logits = spec.weights == RouterWeights::kSoftmaxOverSelected ||
                         spec.weights == RouterWeights::kSigmoidTop1;
  if (on_logits) {
    std::copy(logits, logits + n, score);
  } else if (spec.scoring == Scoring::kSoftmax) {
    kernels.softmax(logits, n, score);
  } else {
    kernels.sigmoid(logits, n, score);
  }
  for (int i = 0; i < n; ++i) z[i] = bias != nullptr ? score[i] + bias[i] : score[i];
  if (spec.group_score != GroupScore::kNone && spec.top_groups < spec.groups) {
    keep_best_groups(spec, z, scratch + 2 * n);
  }
  if (spec.per_group > 0) {
    for (int j = 0; j < spec.top_k; ++j) {
      best_of(z, n, 1, ids + j);
      z[ids[j]] = -std::numeric_limits<float>::infinity();
      close_full_group(spec, ids, j + 1, z);
    }
  } else {
    best_of(z, n, spec.top_k, ids);
  }
  for (int j = 0; j < spec.top_k; ++j) weights[j] = score[ids[j]];
  if (spec.weights == RouterWeights::kSoftmaxOverSelected) {
    kernels.softmax(weights, spec.top_k, weights);
  } else if (spec.weights == RouterWeights::kSigmoidTop1) {
    for (int j = 0; j < spec.top_k; ++j) weights[j] = sigmoid_contract(weights[j]);
  } else {
    float sum = 0;
    for (int j = 0; j < spec.top_k; ++j) sum += weights[j];
    for (int j = 0; j < spec.top_k; ++j) {
      if (spec.weights == RouterWeights::kRenormalized)
        weights[j] = weights[j] / (sum + spec.epsilon);
      weights[j] = weights[j] * spec.scale;
    }
  }
}

}  // namespace wingspan
