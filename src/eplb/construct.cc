#include "eplb/construct.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "eplb/share_order.h"
#include "eplb/tournament.h"

namespace wingspan {
namespace {

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

// Deals replicas out; an expert's go to different ranks as long as enough have free slots.
class Dealer {
 public:
  Dealer(std::span<const int> sizes, const std::vector<double>& load,
         std::vector<std::vector<int>>& hands)
      : sizes_(sizes), hands_(hands), seats_(sizes.size()) {
    for (size_t rank = 0; rank < sizes.size(); ++rank) {
      if (hands[rank].size() >= at(sizes[rank])) continue;
      seats_.place(rank, Tournament::least_first(load[rank]));
      ++open_;
    }
    seats_.play();
  }

  // False when some replica had to share a rank.
  bool deal(int expert, int replicas, double share) {
    bool distinct = true;
    for (int left = replicas; left > 0;) {
      const int now = std::min(left, open_);
      WS_CHECK(now > 0, "no free slot for expert {}", expert);
      distinct = distinct && now == left;
      if (now == 1) {
        const size_t rank = seats_.winner();
        seat(expert, rank, load(rank) + share);
      } else {
        deal_distinct(expert, now, share);
      }
      left -= now;
    }
    return distinct;
  }

 private:
  double load(size_t rank) const { return Tournament::number(seats_.key(rank)); }

  void seat(int expert, size_t rank, double load) {
    auto& hand = hands_[rank];
    hand.push_back(expert);
    const bool full = hand.size() == at(sizes_[rank]);
    if (full) --open_;
    seats_.change(rank, full ? Tournament::kOut : Tournament::least_first(load));
  }

  void deal_distinct(int expert, int replicas, double share) {
    taken_.clear();
    for (int i = 0; i < replicas; ++i) {
      const size_t rank = seats_.winner();
      taken_.emplace_back(rank, load(rank));
      seats_.change(rank, Tournament::kOut);
    }
    for (const auto& [rank, load] : taken_) seat(expert, rank, load + share);
  }

  std::span<const int> sizes_;
  std::vector<std::vector<int>>& hands_;
  Tournament seats_;  // ranks with free slots, by load
  int open_ = 0;      // how many
  std::vector<std::pair<size_t, double>> taken_;
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
  Tournament heaviest(at(experts));
  for (int e = 0; e < experts; ++e) {
    heaviest.place(at(e), Tournament::largest_first(shares.of(e, 1)));
  }
  heaviest.play();
  int extra = distinct - experts;
  if (distinct < slots) {
    out.filler = static_cast<int>(heaviest.winner());
    out.replicas[at(out.filler)] = most;
    extra -= most - 1;
  }
  while (extra > 0) {
    const size_t expert = heaviest.winner();
    int& replicas = out.replicas[expert];
    if (replicas == most) {
      heaviest.change(expert, Tournament::kOut);
      continue;
    }
    const double share = shares.of(static_cast<int>(expert), ++replicas);
    heaviest.change(expert, Tournament::largest_first(share));
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

  std::vector<ExpertShare> order;
  order.reserve(at(experts));
  for (int e = 0; e < experts; ++e) {
    order.push_back({shares.of(e, counts.replicas[at(e)]), e});
  }
  sort_by_share(order);
  std::vector<double> load(sizes.size());
  if (counts.filler >= 0) {
    for (size_t r = 0; r < load.size(); ++r) {
      load[r] =
          shares.of(counts.filler, counts.replicas[at(counts.filler)]) * (rank_slots[r] - sizes[r]);
    }
  }
  Dealer dealer(sizes, load, hands);
  bool distinct = true;
  for (const ExpertShare& next : order) {
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
