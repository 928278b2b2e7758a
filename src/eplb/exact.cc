#include "eplb/exact.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "eplb/construct.h"

namespace wingspan {
namespace {

// Improvements below this are rounding.
constexpr double kStrict = 1 - 1e-10;

class PackingSearch {
 public:
  PackingSearch(const ShareModel& shares, std::span<const int> rank_slots, double load,
                double enough, int64_t max_nodes)
      : shares_(shares), enough_(enough), nodes_left_(max_nodes) {
    for (size_t rank = 0; rank < rank_slots.size(); ++rank) {
      if (rank_slots[rank] == 0) continue;
      rank_of_.push_back(static_cast<int>(rank));
      free_.push_back(rank_slots[rank]);
    }
    load_.resize(free_.size());
    held_.resize(rank_slots.size());
    order_.resize(at(shares.experts()));
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int a, int b) { return shares.load(a) > shares.load(b); });
    left_load_.resize(order_.size() + 1);
    for (size_t i = order_.size(); i-- > 0;) {
      left_load_[i] = left_load_[i + 1] + shares.load(order_[i]);
    }
    result_.load = load;
  }

  ExactResult run() {
    const int slots = std::accumulate(free_.begin(), free_.end(), 0);
    place_expert(0, slots);
    result_.proven = !stopped_;
    return std::move(result_);
  }

 private:
  int ranks() const { return static_cast<int>(free_.size()); }
  double limit() const { return result_.load * kStrict; }

  // Whether what is left can still fit below the limit, by load alone.
  bool hopeless(size_t depth) const {
    double room = 0;
    for (int r = 0; r < ranks(); ++r) {
      if (free_[at(r)] > 0) room += limit() - load_[at(r)];
    }
    return room * (1 + 1e-9) < left_load_[depth];
  }

  void place_expert(size_t depth, int slots_left) {
    if (depth == order_.size()) return leaf(slots_left);
    const int experts_left = static_cast<int>(order_.size() - depth);
    if (slots_left < experts_left || hopeless(depth)) return;
    const int most = slots_left - experts_left + 1;
    // The last expert takes every slot that is left.
    for (int count = experts_left == 1 ? most : 1; count <= most && !done(); ++count) {
      const double share = shares_.of(order_[depth], count);
      if (count <= ranks()) {
        choose_ranks(depth, slots_left - count, count, share, 0);
      } else {
        place_everywhere(depth, slots_left - count, count - ranks(), share);
      }
    }
  }

  bool done() {
    if (result_.load <= enough_ * (1 + 1e-12)) return true;
    if (nodes_left_ > 0) return false;
    stopped_ = true;
    return true;
  }

  void put(int rank, double share) {
    load_[at(rank)] += share;
    --free_[at(rank)];
  }

  // Ranks with equal load and room are interchangeable: they are taken from the first on. Among
  // those that this expert has passed over, none of the same kind may follow.
  void choose_ranks(size_t depth, int slots_left, int count, double share, int from) {
    if (done()) return;
    if (count == 0) {
      --nodes_left_;
      return place_expert(depth + 1, slots_left);
    }
    for (int r = from; r + count <= ranks(); ++r) {
      const double old = load_[at(r)];
      if (free_[at(r)] == 0 || old + share >= limit() || repeats(r, from)) continue;
      put(r, share);
      held_[at(r)].push_back(order_[depth]);
      choose_ranks(depth, slots_left, count - 1, share, r + 1);
      held_[at(r)].pop_back();
      load_[at(r)] = old;
      ++free_[at(r)];
    }
  }

  // Whether a rank like `r` stands in [from, r), untouched by the present expert.
  bool repeats(int r, int from) const {
    for (int q = from; q < r; ++q) {
      if (free_[at(q)] == free_[at(r)] && load_[at(q)] == load_[at(r)]) return true;
    }
    return false;
  }

  // More replicas than ranks: one on each, and the rest anywhere.
  void place_everywhere(size_t depth, int slots_left, int extra, double share) {
    if (std::any_of(free_.begin(), free_.end(), [](int n) { return n == 0; })) return;
    const std::vector<double> before = load_;
    for (int r = 0; r < ranks(); ++r) {
      put(r, share);
      held_[at(r)].push_back(order_[depth]);
    }
    if (*std::max_element(load_.begin(), load_.end()) < limit()) {
      choose_repeats(depth, slots_left, extra, share, 0);
    }
    for (int r = 0; r < ranks(); ++r) {
      ++free_[at(r)];
      held_[at(r)].pop_back();
    }
    load_ = before;
  }

  void choose_repeats(size_t depth, int slots_left, int extra, double share, int from) {
    if (done()) return;
    if (extra == 0) {
      --nodes_left_;
      return place_expert(depth + 1, slots_left);
    }
    for (int r = from; r < ranks(); ++r) {
      const double old = load_[at(r)];
      if (free_[at(r)] == 0 || old + share >= limit()) continue;
      put(r, share);
      held_[at(r)].push_back(order_[depth]);
      choose_repeats(depth, slots_left, extra - 1, share, r);
      held_[at(r)].pop_back();
      load_[at(r)] = old;
      ++free_[at(r)];
    }
  }

  void leaf(int slots_left) {
    if (slots_left != 0) return;
    const double load = *std::max_element(load_.begin(), load_.end());
    if (load >= limit()) return;
    result_.load = load;
    result_.slot_to_expert.clear();
    std::vector<const std::vector<int>*> by_rank(held_.size());
    for (int r = 0; r < ranks(); ++r) by_rank[at(rank_of_[at(r)])] = &held_[at(r)];
    for (const auto* hand : by_rank) {
      if (hand == nullptr) continue;
      result_.slot_to_expert.insert(result_.slot_to_expert.end(), hand->begin(), hand->end());
    }
  }

  const ShareModel& shares_;
  double enough_;
  int64_t nodes_left_;
  bool stopped_ = false;
  std::vector<int> rank_of_, free_;  // of ranks that have slots
  std::vector<double> load_;
  std::vector<std::vector<int>> held_;
  std::vector<int> order_;         // experts, largest load first
  std::vector<double> left_load_;  // of order_[i] and all after it
  ExactResult result_;
};

}  // namespace

ExactResult exact_search(const ShareModel& shares, std::span<const int> rank_slots, double load,
                         double enough, int64_t max_nodes) {
  WS_CHECK(!shares.activated());
  return PackingSearch(shares, rank_slots, load, enough, max_nodes).run();
}

}  // namespace wingspan
