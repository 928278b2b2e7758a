#include <algorithm>

#include "plan/search.h"

namespace wingspan {

namespace {

constexpr int kWidths[] = {1,  2,  4,  8,  12,  16,  20,  24,  28,  32,  36,  40,  48, 56,
                           64, 72, 80, 96, 112, 128, 144, 160, 192, 224, 256, 288, 320};
constexpr int kMaxWidth = 320;

}  // namespace

SearchSpace default_space(int experts, int gpus, int scaleup_domain, bool mtp) {
  SearchSpace space;
  space.experts = experts;
  for (const int width : kWidths) {
    // Beyond a domain a group takes whole ones, or whole servers of a rack.
    const bool even = width <= scaleup_domain || width % std::min(scaleup_domain, 8) == 0;
    if (width <= gpus && even) space.widths.push_back(width);
  }
  // All GPUs as one group is worth a look whatever their number.
  const int all = std::min(gpus, kMaxWidth);
  if (std::find(space.widths.begin(), space.widths.end(), all) == space.widths.end()) {
    space.widths.push_back(all);
  }
  space.mtp_depths = mtp ? std::vector<int>{0, 1, 2, 3} : std::vector<int>{0};
  for (int tp = 1; tp <= std::min(8, scaleup_domain); tp *= 2) space.attention_tps.push_back(tp);
  for (int ep = 1; ep <= std::min(gpus, 64); ep *= 2) space.prefills.push_back({ep});
  space.prefill_wait_steps = {1, 10};
  return space;
}

std::vector<int> slot_choices(int experts, int ep) {
  const auto round_up = [ep](int slots) { return (slots + ep - 1) / ep * ep; };
  // One GPU holds every expert once; a second replica there serves nothing.
  if (ep == 1) return {experts};
  const int least = round_up(experts);
  std::vector<int> choices = {least, least + ep, round_up(experts + experts / 8)};
  std::sort(choices.begin(), choices.end());
  choices.erase(std::unique(choices.begin(), choices.end()), choices.end());
  return choices;
}

}  // namespace wingspan
