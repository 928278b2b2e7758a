#include "eplb/construct.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace wingspan {
namespace {

struct Candidate {
  double share;
  int expert;
  // Largest share first, then the lowest expert.
  bool operator<(const Candidate& other) const {
    return share != other.share ? share < other.share : expert > other.expert;
  }
};

// Whether replicas of these counts fit onto ranks of these sizes with none twice on a rank:
// for every k, the k largest ranks need at most Σ min(replicas, k) slots.
bool distinct_ranks_exist(const std::vector<int>& replicas, std::vector<int> sizes) {
  std::sort(sizes.begin(), sizes.end(), std::greater<>());
  std::vector<int64_t> with(sizes.size() + 2);  // experts with exactly k replicas
  for (const int c : replicas) ++with[std::min(at(c), sizes.size() + 1)];
  int64_t experts_above = static_cast<int64_t>(replicas.size()), need = 0, room = 0;
  for (size_t k = 1; k <= sizes.size(); ++k) {
    experts_above -= with[k - 1];  // experts with at least k replicas
    room += experts_above;
    need += sizes[k - 1];
    if (need > room) return false;
  }
  return true;
}

// Evens the counts out, one replica at a time, until they fit: even counts always do.
void make_fit(const ShareModel& shares, const std::vector<int>& sizes, int filler,
              std::vector<int>& replicas) {
  while (!distinct_ranks_exist(replicas, sizes)) {
    int from = -1, to = -1;
    for (int e = 0; e < shares.experts(); ++e) {
      if (e == filler) continue;
      if (from < 0 || replicas[at(e)] > replicas[at(from)]) from = e;
      if (to < 0 || replicas[at(e)] < replicas[at(to)] ||
          (replicas[at(e)] == replicas[at(to)] && shares.load(e) > shares.load(to))) {
        to = e;
      }
    }
    WS_CHECK(from >= 0 && replicas[at(from)] > replicas[at(to)], "even replicas must fit");
    --replicas[at(from)];
    ++replicas[at(to)];
  }
}

// A rank with free slots, the least loaded (then the lowest) on top of the heap.
struct Seat {
  double load;
  int rank;
  bool operator<(const Seat& other) const {
    return load != other.load ? load > other.load : rank > other.rank;
  }
};

// Deals replicas out; an expert's go to different ranks as long as enough have free slots.
class Dealer {
 public:
  Dealer(std::span<const int> sizes, std::vector<std::vector<int>>& hands)
      : sizes_(sizes), hands_(hands) {
    for (size_t rank = 0; rank < sizes.size(); ++rank) {
      if (hands[rank].size() < at(sizes[rank])) seats_.push_back({0, static_cast<int>(rank)});
    }
    std::make_heap(seats_.begin(), seats_.end());
  }

  void add_load(const std::vector<double>& load) {
    for (Seat& seat : seats_) seat.load += load[at(seat.rank)];
    std::make_heap(seats_.begin(), seats_.end());
  }

  // False when some replica had to share a rank.
  bool deal(int expert, int replicas, double share) {
    bool distinct = true;
    for (int left = replicas; left > 0;) {
      const int now = std::min(left, static_cast<int>(seats_.size()));
      WS_CHECK(now > 0, "no free slot for expert {}", expert);
      distinct = distinct && now == left;
      if (now == 1) {
        deal_one(expert, share);
      } else {
        deal_distinct(expert, now, share);
      }
      left -= now;
    }
    return distinct;
  }

 private:
  bool full(int rank) const { return hands_[at(rank)].size() == at(sizes_[at(rank)]); }

  void deal_one(int expert, double share) {
    std::pop_heap(seats_.begin(), seats_.end());
    Seat& seat = seats_.back();
    hands_[at(seat.rank)].push_back(expert);
    seat.load += share;
    if (full(seat.rank)) {
      seats_.pop_back();
    } else {
      std::push_heap(seats_.begin(), seats_.end());
    }
  }

  void deal_distinct(int expert, int replicas, double share) {
    auto end = seats_.end();
    for (int i = 0; i < replicas; ++i) std::pop_heap(seats_.begin(), end--);
    taken_.assign(end, seats_.end());
    seats_.erase(end, seats_.end());
    for (auto seat = taken_.rbegin(); seat != taken_.rend(); ++seat) {
      hands_[at(seat->rank)].push_back(expert);
      if (full(seat->rank)) continue;
      seats_.push_back({seat->load + share, seat->rank});
      std::push_heap(seats_.begin(), seats_.end());
    }
  }

  std::span<const int> sizes_;
  std::vector<std::vector<int>>& hands_;
  std::vector<Seat> seats_, taken_;
};

bool holds(const std::vector<int>& hand, int expert) {
  return std::find(hand.begin(), hand.end(), expert) != hand.end();
}

// Exchanges one of the equals on `rank` with an expert of another rank. False if no rank can.
bool mend(std::vector<std::vector<int>>& hands, size_t rank, size_t position) {
  const int expert = hands[rank][position];
  for (size_t other = 0; other < hands.size(); ++other) {
    if (other == rank || holds(hands[other], expert)) continue;
    for (int& candidate : hands[other]) {
      if (holds(hands[rank], candidate)) continue;
      std::swap(candidate, hands[rank][position]);
      return true;
    }
  }
  return false;
}

bool mend_all(std::vector<std::vector<int>>& hands) {
  for (size_t rank = 0; rank < hands.size(); ++rank) {
    for (size_t i = 1; i < hands[rank].size(); ++i) {
      const auto end = hands[rank].begin() + static_cast<std::ptrdiff_t>(i);
      if (std::find(hands[rank].begin(), end, hands[rank][i]) == end) continue;
      if (!mend(hands, rank, i)) return false;
    }
  }
  return true;
}

// Most replicas first, each onto the ranks with most free slots: succeeds whenever any way does.
std::vector<std::vector<int>> pack_by_size(const std::vector<int>& sizes,
                                           const std::vector<int>& replicas) {
  std::vector<int> order(replicas.size()), ranks(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  std::iota(ranks.begin(), ranks.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return replicas[at(a)] > replicas[at(b)]; });
  std::vector<std::vector<int>> hands(sizes.size());
  for (const int expert : order) {
    std::stable_sort(ranks.begin(), ranks.end(), [&](int a, int b) {
      return at(sizes[at(a)]) - hands[at(a)].size() > at(sizes[at(b)]) - hands[at(b)].size();
    });
    for (int i = 0; i < replicas[at(expert)]; ++i) hands[at(ranks[at(i)])].push_back(expert);
  }
  return hands;
}

// Sizes without what exceeds the experts; that goes to the filler.
std::vector<int> distinct_sizes(std::span<const int> rank_slots, int experts) {
  std::vector<int> sizes(rank_slots.begin(), rank_slots.end());
  for (int& size : sizes) size = std::min(size, experts);
  return sizes;
}

}  // namespace

int usable_ranks(std::span<const int> rank_slots) {
  return static_cast<int>(
      std::count_if(rank_slots.begin(), rank_slots.end(), [](int n) { return n > 0; }));
}

ReplicaCounts choose_replicas(const ShareModel& shares, std::span<const int> rank_slots) {
  const int experts = shares.experts(), most = usable_ranks(rank_slots);
  const std::vector<int> sizes = distinct_sizes(rank_slots, experts);
  const int slots = std::accumulate(rank_slots.begin(), rank_slots.end(), 0);
  const int distinct = std::accumulate(sizes.begin(), sizes.end(), 0);
  ReplicaCounts out;
  out.replicas.assign(at(experts), 1);
  std::vector<Candidate> heap;
  heap.reserve(at(experts));
  for (int e = 0; e < experts; ++e) heap.push_back({shares.of(e, 1), e});
  std::make_heap(heap.begin(), heap.end());
  int extra = distinct - experts;
  if (distinct < slots) {
    out.filler = heap.front().expert;
    out.replicas[at(out.filler)] = most;
    extra -= most - 1;
  }
  while (extra > 0) {
    std::pop_heap(heap.begin(), heap.end());
    Candidate& top = heap.back();
    int& replicas = out.replicas[at(top.expert)];
    if (replicas == most) {
      heap.pop_back();
      continue;
    }
    top.share = shares.of(top.expert, ++replicas);
    std::push_heap(heap.begin(), heap.end());
    --extra;
  }
  for (int e = 0; e < experts; ++e) {
    out.largest = std::max(out.largest, shares.of(e, out.replicas[at(e)]));
  }
  const auto [least, largest] = std::minmax_element(sizes.begin(), sizes.end());
  if (*least != *largest) make_fit(shares, sizes, out.filler, out.replicas);
  if (out.filler >= 0) out.replicas[at(out.filler)] += slots - distinct;
  return out;
}

std::vector<int> pack_replicas(const ShareModel& shares, std::span<const int> rank_slots,
                               const ReplicaCounts& counts) {
  const int experts = shares.experts();
  const std::vector<int> sizes = distinct_sizes(rank_slots, experts);
  std::vector<std::vector<int>> hands(sizes.size());
  for (size_t r = 0; r < hands.size(); ++r) hands[r].reserve(at(rank_slots[r]));
  std::vector<int> replicas = counts.replicas;
  if (counts.filler >= 0) replicas[at(counts.filler)] = usable_ranks(rank_slots);

  std::vector<Candidate> order;
  order.reserve(at(experts));
  for (int e = 0; e < experts; ++e) {
    order.push_back({shares.of(e, counts.replicas[at(e)]), e});
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return b < a; });
  Dealer dealer(sizes, hands);
  if (counts.filler >= 0) {
    std::vector<double> load(sizes.size());
    for (size_t r = 0; r < load.size(); ++r) {
      load[r] =
          shares.of(counts.filler, counts.replicas[at(counts.filler)]) * (rank_slots[r] - sizes[r]);
    }
    dealer.add_load(load);
  }
  bool distinct = true;
  for (const Candidate& next : order) {
    distinct = dealer.deal(next.expert, replicas[at(next.expert)], next.share) && distinct;
  }
  if (!distinct && !mend_all(hands)) hands = pack_by_size(sizes, replicas);
  std::vector<int> out;
  for (size_t r = 0; r < hands.size(); ++r) {
    out.insert(out.end(), hands[r].begin(), hands[r].end());
    out.insert(out.end(), at(rank_slots[r] - sizes[r]), counts.filler);
  }
  return out;
}

}  // namespace wingspan
