#include "eplb/bounds.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "eplb/construct.h"

namespace wingspan {
namespace {

// What the ranks carry in all, at least. For tokens that is the sum of loads. `activated` costs
// grow with replicas, concavely, so a chord from one replica to the most possible lies below.
double least_total(const ShareModel& shares, int slots, int most) {
  double total = 0;
  std::vector<double> slopes;
  for (int e = 0; e < shares.experts(); ++e) {
    const double one = shares.of(e, 1);
    total += one;
    if (shares.activated() && most > 1) {
      slopes.push_back((most * shares.of(e, most) - one) / (most - 1));
    }
  }
  std::sort(slopes.begin(), slopes.end());
  int extra = slots - shares.experts();
  for (const double slope : slopes) {
    const int taken = std::min(extra, most - 1);
    total += slope * taken;
    extra -= taken;
  }
  return total;
}

// Whether some rank must exceed a limit T, by f with some x; see the header.
class ExcessTest {
 public:
  // `padding` empty slots fill the smaller ranks up to `most_slots`.
  ExcessTest(const ShareModel& shares, int most_slots, int64_t extra, int64_t padding)
      : shares_(shares), others_(most_slots - 1), extra_(extra), padding_(padding) {}

  bool exceeds(double limit, double x) {
    const double large = limit - others_ * x;
    double sum = -x * static_cast<double>(padding_), whole_falls = 0;
    partial_.clear();
    for (int e = 0; e < shares_.experts(); ++e) {
      const double load = shares_.load(e), over = load - large;
      sum -= std::max(0.0, x - load);
      if (over <= 0) continue;
      sum += over;
      const double falls = std::floor(over / large);
      whole_falls += falls;
      const double rest = over - falls * large;
      if (rest > x) partial_.push_back(rest);
    }
    double left = static_cast<double>(extra_);
    sum -= std::min(left, whole_falls) * large;
    left = std::max(0.0, left - whole_falls);
    std::sort(partial_.begin(), partial_.end(), std::greater<>());
    for (auto rest = partial_.begin(); rest != partial_.end() && left > 0; ++rest, --left) {
      sum -= *rest;
    }
    return sum - left * x > kNoise * limit;
  }

  // Rounding of the sums above must not prove anything.
  static constexpr double kNoise = 1e-9;

 private:
  const ShareModel& shares_;
  int others_;
  int64_t extra_, padding_;
  std::vector<double> partial_;
};

}  // namespace

double basic_bound(const ShareModel& shares, std::span<const int> rank_slots) {
  const int most = usable_ranks(rank_slots);
  const int slots = std::accumulate(rank_slots.begin(), rank_slots.end(), 0);
  const ReplicaCounts counts = choose_replicas(shares, rank_slots);
  return basic_bound(shares, slots, most, counts.largest);
}

double basic_bound(const ShareModel& shares, int slots, int usable, double largest_replica) {
  return std::max(least_total(shares, slots, usable) / usable, largest_replica);
}

double small_ranks_bound(const ShareModel& shares, std::span<const int> rank_slots) {
  if (shares.activated()) return 0;
  std::vector<int> sizes;
  for (const int size : rank_slots) {
    if (size > 0) sizes.push_back(size);
  }
  std::sort(sizes.begin(), sizes.end());
  std::vector<double> loads;
  for (int e = 0; e < shares.experts(); ++e) loads.push_back(shares.load(e));
  std::sort(loads.begin(), loads.end());  // the lightest `left` loads are what others must carry
  std::vector<double> lightest(loads.size() + 1);
  std::partial_sum(loads.begin(), loads.end(), lightest.begin() + 1);
  double best = 0;
  size_t left = loads.size();
  for (size_t k = 0; k < sizes.size() && left > 0; ++k) {
    best = std::max(best, lightest[left] / static_cast<double>(sizes.size() - k));
    left -= std::min(left, static_cast<size_t>(sizes[k]));
  }
  return best * (1 - ExcessTest::kNoise);
}

double few_slots_bound(const ShareModel& shares, std::span<const int> rank_slots, double low,
                       double high) {
  low = std::max(low, std::min(high, small_ranks_bound(shares, rank_slots)));
  const int most_slots = *std::max_element(rank_slots.begin(), rank_slots.end());
  if (shares.activated() || most_slots < 2 || high <= low) return low;
  const int64_t slots = std::accumulate(rank_slots.begin(), rank_slots.end(), int64_t{0});
  const int64_t padded = int64_t{most_slots} * usable_ranks(rank_slots);
  ExcessTest test(shares, most_slots, slots - shares.experts(), padded - slots);
  // x near T/m gives the mean again; the small ones see the largest replicas and their company.
  constexpr int kGrid = 24, kHalvings = 14;
  for (int i = 1; i < kGrid; ++i) {
    const auto exceeds = [&](double limit) {
      return test.exceeds(limit, limit / most_slots * i / kGrid);
    };
    if (!exceeds(low)) continue;
    double impossible = low, open = high;
    for (int halving = 0; halving < kHalvings; ++halving) {
      const double middle = impossible + (open - impossible) / 2;
      (exceeds(middle) ? impossible : open) = middle;
    }
    low = impossible;
  }
  return low;
}

}  // namespace wingspan
