#include "eplb/share_order.h"

#include <array>
#include <bit>
#include <cstdint>

#include "eplb/share.h"

namespace wingspan {
namespace {

constexpr int kDigitBits = 8, kDigits = 4;
constexpr size_t kValues = size_t{1} << kDigitBits;

// The upper half of the bits of a number that is not negative orders as the number does, but for
// what differs in the lower half alone. Inverted: largest first.
uint32_t descending(double share) {
  return ~static_cast<uint32_t>(std::bit_cast<uint64_t>(share + 0.0) >> 32U);
}
size_t digit_of(double share, int digit) {
  return descending(share) >> static_cast<unsigned>(digit * kDigitBits) & (kValues - 1);
}

bool before(const ExpertShare& a, const ExpertShare& b) {
  return a.share != b.share ? a.share > b.share : a.expert < b.expert;
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
  // What the lower half decides is nearly in place.
  for (size_t i = 1; i < shares.size(); ++i) {
    const ExpertShare one = shares[i];
    size_t to = i;
    for (; to > 0 && before(one, shares[to - 1]); --to) shares[to] = shares[to - 1];
    shares[to] = one;
  }
}

}  // namespace wingspan
