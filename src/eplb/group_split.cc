#include "eplb/group_split.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "eplb/share.h"

namespace wingspan {
namespace {

// Rounding of the sums must not prove anything.
constexpr double kSafe = 1 - 1e-12;

class SplitSearch {
 public:
  SplitSearch(const SplitProblem& problem, Split start, int64_t max_nodes)
      : p_(problem), left_(max_nodes), order_(problem.group_load.size()), split_(start.size()) {
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int a, int b) { return p_.group_load[at(a)] > p_.group_load[at(b)]; });
    // lightest_[k]: the k lightest groups together. They come last in the order, so all of them
    // are still to be placed while a node lacks k.
    lightest_.resize(at(p_.groups_per_node) + 1);
    for (size_t k = 1; k < lightest_.size(); ++k) {
      lightest_[k] = lightest_[k - 1] + p_.group_load[at(order_[order_.size() - k])];
    }
    load_.resize(start.size());
    out_.split = std::move(start);
    for (size_t n = 0; n < out_.split.size(); ++n) {
      out_.bound = std::max(out_.bound, p_.bound(static_cast<int>(n), out_.split[n]));
    }
  }

  SplitResult run() {
    place(0, 0);
    out_.proven = std::min(out_.bound, open_);
    return std::move(out_);
  }

 private:
  double node_bound(size_t node) const {
    const size_t missing = at(p_.groups_per_node) - split_[node].size();
    if (missing == 0) {
      Groups groups = split_[node];
      std::sort(groups.begin(), groups.end());
      return p_.bound(static_cast<int>(node), groups);
    }
    if (!p_.load_is_carried) return 0;
    return (load_[node] + lightest_[missing]) / p_.node_ranks[node] * kSafe;
  }

  // `bound` holds for all nodes as they are.
  void place(size_t depth, double bound) {
    if (depth == order_.size()) {
      out_.bound = bound;
      out_.split = split_;
      for (Groups& groups : out_.split) std::sort(groups.begin(), groups.end());
      return;
    }
    struct Child {
      double bound;
      size_t node;
    };
    std::vector<Child> children;
    std::set<int> empty_kinds;
    const int group = order_[depth];
    for (size_t node = 0; node < split_.size(); ++node) {
      if (split_[node].size() == at(p_.groups_per_node)) continue;
      if (split_[node].empty() && !empty_kinds.insert(p_.node_kind[node]).second) continue;
      put(node, group);
      children.push_back({std::max(bound, node_bound(node)), node});
      take(node, group);
    }
    // The node with the least bound first; of equals, the one with the least load.
    std::stable_sort(children.begin(), children.end(), [&](const Child& a, const Child& b) {
      return a.bound != b.bound ? a.bound < b.bound : load_[a.node] < load_[b.node];
    });
    for (const Child& child : children) {
      if (child.bound >= out_.bound * kProgress) return;
      if (left_-- <= 0) {
        open_ = std::min(open_, child.bound);
        return;
      }
      put(child.node, group);
      place(depth + 1, child.bound);
      take(child.node, group);
    }
  }

  void put(size_t node, int group) {
    split_[node].push_back(group);
    load_[node] += p_.group_load[at(group)];
  }
  void take(size_t node, int group) {
    split_[node].pop_back();
    load_[node] -= p_.group_load[at(group)];
  }

  const SplitProblem& p_;
  int64_t left_;
  std::vector<int> order_;
  Split split_;
  std::vector<double> lightest_, load_;
  double open_ = std::numeric_limits<double>::infinity();
  SplitResult out_;
};

}  // namespace

SplitResult best_split(const SplitProblem& problem, Split start, int64_t max_nodes) {
  return SplitSearch(problem, std::move(start), max_nodes).run();
}

}  // namespace wingspan
