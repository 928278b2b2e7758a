#include "eplb/share_order.h"

#include <array>
#include <cstdint>

#include "eplb/share.h"

namespace wingspan {
namespace {

constexpr int kDigitBits = 8, kDigits = 4;
constexpr size_t kValues = size_t{1} << kDigitBits;

// The upper half of the bits, inverted: largest first, but for what differs in the lower half
// alone.
uint32_t descending(double share) { return ~static_cast<uint32_t>(ordered_bits(share) >> 32U); }
size_t digit_of(double share, int digit) {
  return descending(share) >> static_cast<unsigned>(digit * kDigitBits) & (kValues - 1);
}

bool before(const ExpertShare& a, const ExpertShare& b) {
  return a.share != b.share ? a.share > b.share : a.expert < b.expert;
}

// What is nearly in order, by insertion.
void sort_nearly_sorted(std::vector<ExpertShare>& items) {
  for (size_t i = 1; i < items.size(); ++i) {
    const ExpertShare one = items[i];
    size_t to = i;
    for (; to > 0 && before(one, items[to - 1]); --to) items[to] = items[to - 1];
    items[to] = one;
  }
}

}  // namespace

void sort_by_share(std::vector<ExpertShare>& shares) {
  std::array<std::array<uint32_t, kValues>, kDigits> starts{};
  for (const ExpertShare& s : shares) {
    for (int d = 0; d < kDigits; ++d) ++starts[at(d)][digit_of(s.share, d)];
  }
  std::vector<ExpertShare> sorted(shares.size());
  for (int d = 0; d < kDigits; ++d) {
    uint32_t sum = 0;
    for (uint32_t& start : starts[at(d)]) {
      const uint32_t count = start;
      start = sum;
      sum += count;
    }
    for (const ExpertShare& s : shares) sorted[starts[at(d)][digit_of(s.share, d)]++] = s;
    shares.swap(sorted);
  }
  sort_nearly_sorted(shares);  // what the lower half decides
}

}  // namespace wingspan
