// Routing families: router logits -> experts and weights. Each is a pure function of one token's
// row.
//
// Float32 throughout; ties go to the lowest index (experts and groups); experts of dropped groups
// are masked with −infinity. Sources: docs/models.md, table of routing rules.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "kernels/kernels.h"

namespace wingspan {

enum class Scoring { kSoftmax, kSigmoid };
enum class GroupScore { kNone, kMax, kTop2Sum };  // how a group is scored when groups are limited
enum class RouterWeights {
  kScore,                // the score itself, times `scale`
  kRenormalized,         // score / (Σ over the chosen + epsilon), times `scale`
  kSoftmaxOverSelected,  // gpt-oss: top-k on logits, softmax over them
  kSigmoidTop1,          // Llama 4: top-k on logits, sigmoid of each
};

struct RouterSpec {
  int experts = 0;
  int top_k = 0;
  Scoring scoring = Scoring::kSoftmax;
  RouterWeights weights = RouterWeights::kScore;
  GroupScore group_score = GroupScore::kNone;
  int groups = 1;
  int top_groups = 1;  // groups kept
  // > 0: a coarse → fine hierarchy, groups first, then at most so many experts within each.
  int per_group = 0;
  float scale = 1;
  float epsilon = 0;  // in the renormalisation (DeepSeek-V3: 1e-20)

  // Errors: top_k > experts of the kept groups, experts not divisible by groups, ….
  Status validate() const;
};

// One token. logits [experts]; bias [experts] or null (added to the score for selection only);
// ids, weights [top_k] in descending selection score; scratch [3 · experts] floats.
void route_token(const Kernels& kernels, const RouterSpec& spec, const float* logits,
                 const float* bias, int32_t* ids, float* weights, float* scratch);

}  // namespace wingspan
