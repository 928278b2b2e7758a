#include "eplb/robust.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "base/check.h"
#include "eplb/share.h"

namespace wingspan {
namespace {

constexpr size_t kMostRobustWindows = 32;
constexpr int kMostRobustSteps = 400;

LoadMatrix merged(const LoadMatrix& windows) {
  if (windows.size() <= kMostRobustWindows) return windows;
  LoadMatrix out(kMostRobustWindows, std::vector<double>(windows[0].size()));
  for (size_t w = 0; w < windows.size(); ++w) {
    auto& row = out[w * kMostRobustWindows / windows.size()];
    for (size_t e = 0; e < row.size(); ++e) row[e] += windows[w][e];
  }
  return out;
}

// Loads of every rank in every window, under exchanges of two slots.
class RobustSearch {
 public:
  RobustSearch(const Topology& topology, const LoadMatrix& windows, const std::vector<int>& start,
               const PlanOptions& options)
      : t_(topology), slots_(start), rank_of_(start.size()) {
    size_t s = 0;
    for (int r = 0; r < t_.ranks(); ++r) {
      for (int i = 0; i < t_.rank_slots[at(r)]; ++i) rank_of_[s++] = r;
    }
    std::vector<int> replicas(at(t_.experts));
    for (const int e : slots_) ++replicas[at(e)];
    for (const auto& row : windows) {
      const ShareModel shares(row, options.objective, options.rows);
      auto& share = share_.emplace_back(at(t_.experts));
      for (int e = 0; e < t_.experts; ++e) share[at(e)] = shares.of(e, replicas[at(e)]);
      auto& load = load_.emplace_back(at(t_.ranks()));
      for (size_t slot = 0; slot < slots_.size(); ++slot) {
        load[at(rank_of_[slot])] += share[at(slots_[slot])];
      }
    }
  }

  std::vector<int> run() {
    for (int step = 0; step < kMostRobustSteps && improve(); ++step) {
    }
    return std::move(slots_);
  }

 private:
  struct Top {
    std::array<int, 3> rank{-1, -1, -1};
  };

  // The three busiest ranks of a window: the largest load of all others is known at once.
  Top top_of(size_t window) const {
    Top top;
    for (int r = 0; r < t_.ranks(); ++r) {
      int candidate = r;
      for (int& held : top.rank) {
        if (held < 0 || load_[window][at(candidate)] > load_[window][at(held)]) {
          std::swap(held, candidate);
          if (candidate < 0) break;
        }
      }
    }
    return top;
  }

  bool improve() {
    tops_.clear();
    std::vector<int> busiest(at(t_.ranks()));
    double now = 0;
    for (size_t w = 0; w < share_.size(); ++w) {
      tops_.push_back(top_of(w));
      ++busiest[at(tops_[w].rank[0])];
      now += load_[w][at(tops_[w].rank[0])];
    }
    std::vector<int> order(at(t_.ranks()));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return busiest[at(a)] > busiest[at(b)]; });
    for (const int rank : order) {
      if (busiest[at(rank)] == 0) return false;
      if (exchange_at(rank, now * (1 - 1e-9))) return true;
    }
    return false;
  }

  bool exchange_at(int rank, double limit) {
    size_t best_a = 0, best_b = 0;
    double best = limit;
    const auto first = at(t_.first_slot(rank)), end = first + at(t_.rank_slots[at(rank)]);
    for (size_t a = first; a < end; ++a) {
      for (size_t b = 0; b < slots_.size(); ++b) {
        if (rank_of_[b] == rank || slots_[a] == slots_[b] || !same_node(rank, rank_of_[b]))
          continue;
        const double after = mean_after(a, b, best);
        if (after >= best || holds(rank_of_[b], slots_[a]) || holds(rank, slots_[b])) continue;
        best = after;
        best_a = a;
        best_b = b;
      }
    }
    if (best >= limit) return false;
    for (size_t w = 0; w < share_.size(); ++w) {
      const double shift = share_[w][at(slots_[best_a])] - share_[w][at(slots_[best_b])];
      load_[w][at(rank)] -= shift;
      load_[w][at(rank_of_[best_b])] += shift;
    }
    std::swap(slots_[best_a], slots_[best_b]);
    return true;
  }

  // Sum over windows of the largest load after the exchange; stops counting at `limit`.
  double mean_after(size_t a, size_t b, double limit) const {
    const int ra = rank_of_[a], rb = rank_of_[b];
    double sum = 0;
    for (size_t w = 0; w < share_.size() && sum < limit; ++w) {
      const double shift = share_[w][at(slots_[a])] - share_[w][at(slots_[b])];
      double most = std::max(load_[w][at(ra)] - shift, load_[w][at(rb)] + shift);
      for (const int r : tops_[w].rank) {
        if (r >= 0 && r != ra && r != rb) {
          most = std::max(most, load_[w][at(r)]);
          break;
        }
      }
      sum += most;
    }
    return sum;
  }

  bool same_node(int a, int b) const {
    if (!t_.grouped()) return true;
    const int ranks = t_.ranks() / t_.nodes;
    return a / ranks == b / ranks;
  }

  bool holds(int rank, int expert) const {
    const auto first = slots_.begin() + t_.first_slot(rank);
    const auto end = first + t_.rank_slots[at(rank)];
    return std::find(first, end, expert) != end;
  }

  const Topology& t_;
  std::vector<int> slots_, rank_of_;
  std::vector<std::vector<double>> share_, load_;  // [windows][experts], [windows][ranks]
  std::vector<Top> tops_;
};

}  // namespace

std::vector<int> robust_layer(const Topology& topology, const LoadMatrix& windows,
                              const std::vector<int>& start, const PlanOptions& options) {
  WS_CHECK(!windows.empty());
  std::vector<int> out = RobustSearch(topology, merged(windows), start, options).run();
  // Merged windows may mislead: never worse than the start, over all of them.
  const double before = mean_largest_cost(topology, windows, start, options);
  return mean_largest_cost(topology, windows, out, options) < before ? out : start;
}

double mean_largest_cost(const Topology& topology, const LoadMatrix& windows,
                         const std::vector<int>& slot_to_expert, const PlanOptions& options) {
  double sum = 0;
  for (const auto& row : windows) {
    const ShareModel shares(row, options.objective, options.rows);
    sum += largest_cost(topology, slot_to_expert, shares);
  }
  return sum / static_cast<double>(windows.size());
}

}  // namespace wingspan
