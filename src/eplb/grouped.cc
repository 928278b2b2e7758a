#include "eplb/grouped.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "base/check.h"
#include "eplb/bounds.h"
#include "eplb/construct.h"
#include "eplb/group_split.h"
#include "eplb/share.h"

namespace wingspan {
namespace {

constexpr size_t kMostWays = 3000;
constexpr size_t kMostTinyWays = 300;    // all of them solved fully, with nodes of tiny pools
constexpr size_t kFullWays = 4;          // else
constexpr int64_t kSplitNodes = 20'000;  // of best_split, where there are more ways

struct Way {
  double bound = 0, load = 0;
  Split split;
};

class GroupedSolver {
 public:
  GroupedSolver(const Topology& topology, const ShareModel& shares, const Effort& effort)
      : t_(topology),
        shares_(shares),
        effort_(effort),
        pool_effort_(effort),
        per_node_(topology.groups / topology.nodes),
        group_experts_(topology.experts / topology.groups),
        node_ranks_(topology.ranks() / topology.nodes) {
    // Each of many pools gets a small part of the work.
    pool_effort_.exact_nodes = std::min<int64_t>(pool_effort_.exact_nodes / t_.nodes, 50'000);
    // Nodes with the same ranks are interchangeable.
    std::map<std::vector<int>, int> kinds;
    for (int node = 0; node < t_.nodes; ++node) {
      const auto slots = node_slots(node);
      const std::vector<int> key(slots.begin(), slots.end());
      kind_.push_back(kinds.emplace(key, node).first->second);
    }
  }

  PoolPlan run() {
    Split split(at(t_.nodes));
    enumerate(split, 0);
    return complete_ ? solve_ways() : solve_by_exchange();
  }

 private:
  std::span<const int> node_slots(int node) const {
    return std::span(t_.rank_slots).subspan(at(node * node_ranks_), at(node_ranks_));
  }

  std::vector<double> loads_of(const Groups& groups) const {
    std::vector<double> out;
    for (const int group : groups) {
      for (int e = 0; e < group_experts_; ++e) {
        out.push_back(shares_.load(group * group_experts_ + e));
      }
    }
    return out;
  }

  double bound_of(int node, const Groups& groups) {
    const auto [it, fresh] = bounds_.try_emplace({kind_[at(node)], groups}, 0.0);
    if (fresh) {
      const std::vector<double> loads = loads_of(groups);
      it->second = basic_bound(shares_.part(loads), node_slots(node));
    }
    return it->second;
  }

  const PoolPlan& solve(int node, const Groups& groups, bool fully) {
    auto& cache = fully ? full_ : fast_;
    const auto [it, fresh] = cache.try_emplace({kind_[at(node)], groups});
    if (fresh) {
      const std::vector<double> loads = loads_of(groups);
      it->second =
          solve_pool(shares_.part(loads), node_slots(node), fully ? pool_effort_ : Effort::fast());
    }
    return it->second;
  }

  double load_of(const Split& split, bool fully) {
    double load = 0;
    for (int node = 0; node < t_.nodes; ++node) {
      load = std::max(load, solve(node, split[at(node)], fully).max_load);
    }
    return load;
  }

  // All ways, up to nodes of a kind changing places; gives up beyond kMostWays.
  void enumerate(Split& split, int group) {
    if (!complete_) return;
    if (group == t_.groups) {
      double bound = 0;
      for (int node = 0; node < t_.nodes; ++node) {
        bound = std::max(bound, bound_of(node, split[at(node)]));
      }
      ways_.push_back({bound, 0, split});
      complete_ = ways_.size() < kMostWays;
      return;
    }
    std::set<int> empty_kinds;
    for (int node = 0; node < t_.nodes; ++node) {
      Groups& mine = split[at(node)];
      if (mine.size() == at(per_node_)) continue;
      if (mine.empty() && !empty_kinds.insert(kind_[at(node)]).second) continue;
      mine.push_back(group);
      enumerate(split, group + 1);
      mine.pop_back();
    }
  }

  // First all ways that may win with little effort each, in the order of their bounds; then those
  // that came out best with full effort.
  PoolPlan solve_ways() {
    std::stable_sort(ways_.begin(), ways_.end(),
                     [](const auto& a, const auto& b) { return a.bound < b.bound; });
    const double least = ways_.front().bound;
    pool_effort_.enough = least;
    double best = 0;
    size_t tried = 0;
    for (; tried < ways_.size(); ++tried) {
      Way& way = ways_[tried];
      if (tried > 0 && (way.bound >= best || best <= least * (1 + effort_.tolerance))) break;
      way.load = load_of(way.split, false);
      best = tried == 0 ? way.load : std::min(best, way.load);
    }
    std::vector<size_t> order(tried);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return ways_[a].load < ways_[b].load; });
    size_t winner = order[0];
    bool fully = false;
    const bool tiny = t_.slots() / t_.nodes <= kTinySlots && ways_.size() <= kMostTinyWays;
    const double enough = least * (1 + (tiny ? 1e-10 : effort_.refine_above / 4));
    const size_t full_ways = tiny ? tried : std::min(tried, kFullWays);
    for (size_t i = 0; i < full_ways && effort_.strong_bounds && best > enough; ++i) {
      const Way& way = ways_[order[i]];
      if (way.bound >= best) continue;
      const double load = load_of(way.split, true);
      if (load >= best && (fully || order[i] != winner)) continue;
      best = std::min(best, load);
      winner = order[i];
      fully = true;
    }
    return assemble(ways_[winner].split, fully, std::min(best, least_bound(best)));
  }

  // Over all ways, the largest bound of their nodes; ways at or above `reached` can't lower it.
  double least_bound(double reached) {
    std::map<std::pair<int, Groups>, double> strong;
    double least = reached;
    for (const Way& way : ways_) {
      if (way.bound >= least) break;
      double bound = way.bound;
      for (int node = 0; node < t_.nodes && bound < least; ++node) {
        const std::pair key{kind_[at(node)], way.split[at(node)]};
        const auto [it, fresh] = strong.try_emplace(key, 0.0);
        if (fresh) it->second = strong_bound(node, key, reached);
        bound = std::max(bound, it->second);
      }
      least = std::min(least, bound);
    }
    return least;
  }

  double strong_bound(int node, const std::pair<int, Groups>& key, double reached) {
    const auto solved = full_.find(key);
    if (solved != full_.end()) return solved->second.lower_bound;
    const double basic = bound_of(node, key.second);
    if (!effort_.strong_bounds) return basic;
    const std::vector<double> loads = loads_of(key.second);
    return few_slots_bound(shares_.part(loads), node_slots(node), basic, reached);
  }

  // Groups by load, each to the node with the least load that has room; then exchanges that lower
  // the larger bound of the two nodes.
  PoolPlan solve_by_exchange() {
    std::vector<double> load(at(t_.groups));
    for (int e = 0; e < t_.experts; ++e) load[at(e / group_experts_)] += shares_.load(e);
    Groups order(at(t_.groups));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return load[at(a)] > load[at(b)]; });
    Split split(at(t_.nodes));
    std::vector<double> held(at(t_.nodes));
    for (const int group : order) {
      int node = -1;
      for (int n = 0; n < t_.nodes; ++n) {
        if (split[at(n)].size() == at(per_node_)) continue;
        if (node < 0 || held[at(n)] < held[at(node)]) node = n;
      }
      split[at(node)].push_back(group);
      held[at(node)] += load[at(group)];
    }
    for (Groups& groups : split) std::sort(groups.begin(), groups.end());
    for (int round = 0; round < 2 * t_.groups && exchange(split); ++round) {
    }
    SplitProblem problem;
    problem.group_load = load;
    problem.groups_per_node = per_node_;
    problem.node_kind = kind_;
    problem.load_is_carried = !shares_.activated();
    for (int n = 0; n < t_.nodes; ++n) problem.node_ranks.push_back(usable_ranks(node_slots(n)));
    problem.bound = [this](int node, const Groups& groups) { return bound_of(node, groups); };
    const SplitResult best =
        best_split(problem, std::move(split), effort_.strong_bounds ? kSplitNodes : 0);
    pool_effort_.enough = best.proven;
    PoolPlan plan = assemble(best.split, effort_.strong_bounds, 0);
    plan.lower_bound =
        std::min(plan.max_load, std::max(best.proven, basic_bound(shares_, t_.rank_slots)));
    return plan;
  }

  bool exchange(Split& split) {
    int worst = 0;
    for (int n = 1; n < t_.nodes; ++n) {
      if (bound_of(n, split[at(n)]) > bound_of(worst, split[at(worst)])) worst = n;
    }
    double best = bound_of(worst, split[at(worst)]) * (1 - 1e-12);
    Groups best_mine, best_theirs;
    int partner = -1;
    for (int n = 0; n < t_.nodes; ++n) {
      if (n == worst) continue;
      for (int i = 0; i < per_node_; ++i) {
        for (int j = 0; j < per_node_; ++j) {
          Groups mine = split[at(worst)], theirs = split[at(n)];
          std::swap(mine[at(i)], theirs[at(j)]);
          std::sort(mine.begin(), mine.end());
          std::sort(theirs.begin(), theirs.end());
          const double bound = std::max(bound_of(worst, mine), bound_of(n, theirs));
          if (bound >= best) continue;
          best = bound;
          partner = n;
          best_mine = std::move(mine);
          best_theirs = std::move(theirs);
        }
      }
    }
    if (partner < 0) return false;
    split[at(worst)] = best_mine;
    split[at(partner)] = best_theirs;
    return true;
  }

  PoolPlan assemble(const Split& split, bool fully, double bound) {
    PoolPlan out;
    out.lower_bound = bound;
    for (int node = 0; node < t_.nodes; ++node) {
      const Groups& groups = split[at(node)];
      const PoolPlan& plan = solve(node, groups, fully);
      out.max_load = std::max(out.max_load, plan.max_load);
      for (const int local : plan.slot_to_expert) {
        out.slot_to_expert.push_back(groups[at(local / group_experts_)] * group_experts_ +
                                     local % group_experts_);
      }
    }
    return out;
  }

  const Topology& t_;
  const ShareModel& shares_;
  const Effort& effort_;
  Effort pool_effort_;
  int per_node_, group_experts_, node_ranks_;
  std::vector<int> kind_;  // of each node: the first node with the same ranks
  std::vector<Way> ways_;
  bool complete_ = true;
  std::map<std::pair<int, Groups>, double> bounds_;
  std::map<std::pair<int, Groups>, PoolPlan> fast_, full_;
};

}  // namespace

PoolPlan solve_grouped(const Topology& topology, const ShareModel& shares, const Effort& effort) {
  WS_CHECK(topology.grouped());
  return GroupedSolver(topology, shares, effort).run();
}

}  // namespace wingspan
