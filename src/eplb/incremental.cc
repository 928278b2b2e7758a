#include "eplb/incremental.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "eplb/construct.h"
#include "eplb/excess_step.h"
#include "eplb/few_moves.h"
#include "eplb/local_search.h"
#include "eplb/migration.h"
#include "eplb/packing.h"
#include "eplb/pool.h"
#include "eplb/share.h"

namespace wingspan {
namespace {

constexpr double kWorthEvening = 0.9;
constexpr int kMostForced = 12;
// Of the search through all placements with few moves, in tiny pools.
constexpr int64_t kFewMovesNodes = 20'000;
constexpr int kFewMoves = 8;

// The frontier of one pool.
class PoolFrontier {
 public:
  PoolFrontier(const ShareModel& shares, std::span<const int> rank_slots,
               std::span<const int> current, const FrontierOptions& options)
      : options_(options),
        origin_(current.begin(), current.end()),
        packing_(shares, rank_slots, current),
        usable_ranks_(usable_ranks(rank_slots)),
        steps_(packing_, origin_, usable_ranks_, options.target) {
    points_.push_back({0, packing_.max_load(), origin_});
  }

  // The best of all placements that differ in one slot: a lower cost needs a change at the busiest
  // rank, of a slot of its own or of the replicas of an expert that it holds; all of them are
  // tried.
  std::vector<FrontierPoint> run_single() {
    const int busiest = packing_.busiest(), first = packing_.first_slot(busiest),
              end = packing_.end_slot(busiest);
    single_cost_ = packing_.max_load() * kProgress;
    for (int slot = 0; slot < packing_.slots(); ++slot) {
      if (slot >= first && slot < end) {
        for (int e = 0; e < packing_.experts(); ++e) try_single(slot, e);
      } else {
        for (int s = first; s < end; ++s) try_single(slot, packing_.expert(s));
      }
    }
    return std::move(points_);
  }

  // Steps that lower the busiest rank most for each slot, however little the others gain: best
  // where few slots may change.
  std::vector<FrontierPoint> run_steepest() {
    for (int e = 0; e < packing_.experts(); ++e) {
      if (packing_.replicas(e) > usable_ranks_) return std::move(points_);
    }
    const StepFinder finder(packing_, -1);
    while (packing_.max_load() > options_.target) {
      const int rank = packing_.busiest();
      const double load = packing_.load(rank), limit = load * kProgress;
      double others = 0;
      for (int r = 0; r < packing_.ranks(); ++r) {
        if (r != rank) others = std::max(others, packing_.load(r));
      }
      Step best;
      double best_rate = 0;
      for (const Step& step :
           {finder.best_replace(rank, limit, 0), finder.best_swap(rank, limit, 0)}) {
        if (step.kind == Step::Kind::kNone) continue;
        const int more = steps_.extra_moves(step);
        if (moves_ + more > options_.most_moves) continue;
        // Where several ranks are as busy, the touched ones count.
        const double gain = load - std::max(step.load, std::min(others, load * kProgress));
        const double rate = gain / std::max(0.5, static_cast<double>(more));
        if (rate <= best_rate) continue;
        best_rate = rate;
        best = step;
      }
      if (best.kind == Step::Kind::kNone) break;
      moves_ += steps_.extra_moves(best);
      apply(best, packing_);
      record();
    }
    prune();
    return std::move(points_);
  }

  // `cap` > 0: first brings every replica below it as far as evening counts goes.
  std::vector<FrontierPoint> run(double cap) {
    const int most_steps = 4 * packing_.slots() + 64;
    int forced = 0;
    if (cap > 0) even_to(cap);
    for (int steps = 0; steps < most_steps; ++steps) {
      const int rank = packing_.busiest();
      if (packing_.load(rank) <= std::max(options_.target, options_.enough)) break;
      Step step = steps_.best(rank, options_.most_moves - moves_);
      if (step.kind == Step::Kind::kNone) {
        if (++forced > kMostForced) break;
        step = even_replicas();
        if (step.kind == Step::Kind::kNone) break;
      }
      moves_ += steps_.extra_moves(step);
      if (moves_ > options_.most_moves) break;
      apply(step, packing_);
      if (record()) forced = 0;
    }
    prune();
    return std::move(points_);
  }

 private:
  // Rule 3 allows a second replica on a rank once every rank has one.
  bool everywhere(int expert) const {
    for (int rank = 0; rank < packing_.ranks(); ++rank) {
      if (packing_.first_slot(rank) < packing_.end_slot(rank) && !packing_.holds(rank, expert)) {
        return false;
      }
    }
    return true;
  }

  void try_single(int slot, int expert) {
    if (packing_.expert(slot) == expert || !steps_.may_leave(slot)) return;
    if (!packing_.holds(packing_.rank_of(slot), expert)) {
      const double least = StepFinder(packing_, -1).replaced_load(slot, expert, single_cost_);
      if (least >= single_cost_) return;
    } else if (!everywhere(expert)) {
      return;
    }
    Packing changed = packing_;
    changed.replace(slot, expert);
    if (changed.max_load() >= single_cost_) return;
    single_cost_ = changed.max_load();
    points_.resize(1);
    points_.push_back({1, single_cost_, changed.slot_to_expert()});
  }

  bool fits(int rank, double limit) const { return packing_.load(rank) <= limit; }

  // Gives back what the last point does not need: slots that can have their old expert again, alone
  // or by an exchange of two changed slots, without going above its cost or the target.
  void prune() {
    FrontierPoint& last = points_.back();
    if (last.moves == 0 || last.slot_to_expert != packing_.slot_to_expert()) return;
    const double limit = std::max(last.cost, options_.target);
    std::vector<int> changed;
    for (int s = 0; s < packing_.slots(); ++s) {
      if (packing_.expert(s) != origin_[at(s)]) changed.push_back(s);
    }
    for (const int s : changed) restore(s, limit);
    for (const int a : changed) {
      for (const int b : changed) exchange_back(a, b, limit);
    }
    last = {count_moves(origin_, packing_.slot_to_expert()), packing_.max_load(),
            packing_.slot_to_expert()};
    while (points_.size() > 1 && points_[points_.size() - 2].moves >= points_.back().moves) {
      points_.erase(points_.end() - 2);
    }
  }

  void restore(int slot, double limit) {
    const int now = packing_.expert(slot), old = origin_[at(slot)];
    if (now == old || !steps_.may_replace(slot, old)) return;
    packing_.replace(slot, old);
    if (packing_.max_load() > limit) packing_.replace(slot, now);
  }

  void exchange_back(int a, int b, double limit) {
    const int ea = packing_.expert(a), eb = packing_.expert(b);
    const int ra = packing_.rank_of(a), rb = packing_.rank_of(b);
    if (ea == eb || steps_.extra_moves({Step::Kind::kSwap, a, b, 0}) >= 0) return;
    if (ra != rb && (packing_.holds(ra, eb) || packing_.holds(rb, ea))) return;
    packing_.swap_slots(a, b);
    if (!fits(ra, limit) || !fits(rb, limit)) packing_.swap_slots(a, b);
  }

  void even_to(double cap) {
    while (packing_.share(costliest()) > cap) {
      const Step step = even_replicas();
      if (step.kind == Step::Kind::kNone) return;
      const int moves = moves_ + steps_.extra_moves(step);
      if (moves > options_.most_moves) return;
      moves_ = moves;
      apply(step, packing_);
      record();
    }
  }

  // The expert whose replicas cost most.
  int costliest() const {
    int most = 0;
    for (int e = 0; e < packing_.experts(); ++e) {
      if (packing_.share(e) > packing_.share(most)) most = e;
    }
    return most;
  }

  // Where no step helps, the replica counts no longer suit the load: the expert whose replicas cost
  // most gets one, from the expert that misses it least, where the load is then lowest. The busiest
  // rank may get worse by that for a while.
  Step even_replicas() const {
    const int most = costliest();
    int spare = -1;
    for (int e = 0; e < packing_.experts(); ++e) {
      if (packing_.replicas(e) < 2 || e == most) continue;
      if (spare < 0 || packing_.share_with(e, -1) < packing_.share_with(spare, -1)) spare = e;
    }
    if (spare < 0 || packing_.share_with(spare, -1) >= packing_.share(most) * kWorthEvening)
      return {};
    Step out;
    for (int s = packing_.first_of(spare); s >= 0; s = packing_.next_of(s)) {
      const int rank = packing_.rank_of(s);
      if (packing_.holds(rank, most) || !steps_.may_leave(s)) continue;
      const double load = packing_.load(rank) - packing_.weight(s);
      if (out.kind == Step::Kind::kNone || load < out.load) {
        out = {Step::Kind::kReplace, s, most, load};
      }
    }
    return out;
  }

  bool record() {
    const double cost = packing_.max_load();
    if (cost >= points_.back().cost * kProgress) return false;
    // A step may give slots back: points with as many moves are then beaten.
    while (points_.size() > 1 && points_.back().moves >= moves_) points_.pop_back();
    points_.push_back({moves_, cost, packing_.slot_to_expert()});
    return true;
  }

  const FrontierOptions& options_;
  std::vector<int> origin_;
  Packing packing_;
  int usable_ranks_;
  ExcessSteps steps_;
  int moves_ = 0;
  double single_cost_ = 0;  // of run_single
  std::vector<FrontierPoint> points_;
};

// In the order of moves, each with a lower cost than all before it.
std::vector<FrontierPoint> undominated(std::vector<FrontierPoint> points) {
  std::stable_sort(points.begin(), points.end(), [](const auto& a, const auto& b) {
    return a.moves != b.moves ? a.moves < b.moves : a.cost < b.cost;
  });
  std::vector<FrontierPoint> out;
  for (FrontierPoint& point : points) {
    if (out.empty() || point.cost < out.back().cost * kProgress) out.push_back(std::move(point));
  }
  return out;
}

std::vector<FrontierPoint> run_pool(const ShareModel& shares, std::span<const int> rank_slots,
                                    std::span<const int> current, const FrontierOptions& options,
                                    int& proven_moves) {
  proven_moves = 0;
  const double least = options.least_replica > 0 ? options.least_replica
                                                 : choose_replicas(shares, rank_slots).largest;
  const double cap = least * options.evening;
  auto points = PoolFrontier(shares, rank_slots, current, options).run(cap);
  if (!options.thorough) return points;
  if (options.most_moves < 1) return points;
  for (auto& point : PoolFrontier(shares, rank_slots, current, options).run_single()) {
    points.push_back(std::move(point));
  }
  proven_moves = 1;
  if (static_cast<int>(current.size()) <= kTinySlots) {
    const int limit = std::min(options.most_moves, kFewMoves);
    FewMoves all = few_moves(shares, rank_slots, current, limit, kFewMovesNodes);
    proven_moves = std::max(proven_moves, static_cast<int>(all.points.size()) - 1);
    for (FewMovesPoint& point : all.points) {
      const int moves = count_moves(current, point.slot_to_expert);
      points.push_back({moves, point.cost, std::move(point.slot_to_expert)});
    }
  }
  const int most = std::min(options.most_moves, std::max(2, points.back().moves));
  for (int moves = 1;; moves = std::min(2 * moves, most)) {
    FrontierOptions fewer = options;
    fewer.most_moves = moves;
    for (auto& point : PoolFrontier(shares, rank_slots, current, fewer).run(0)) {
      points.push_back(std::move(point));
    }
    for (auto& point : PoolFrontier(shares, rank_slots, current, fewer).run_steepest()) {
      points.push_back(std::move(point));
    }
    if (moves == most) break;
  }
  return undominated(std::move(points));
}

// A node's part of a grouped placement, with its experts renumbered.
struct NodePart {
  std::vector<int> experts;  // local -> global
  std::vector<double> load;
  std::vector<FrontierPoint> points;
};

NodePart node_part(const Topology& t, const ShareModel& shares, std::span<const double> load,
                   std::span<const int> current, int node, const FrontierOptions& options) {
  const size_t slots = current.size() / at(t.nodes), ranks = at(t.ranks() / t.nodes);
  const auto mine = current.subspan(at(node) * slots, slots);
  NodePart part;
  part.experts.assign(mine.begin(), mine.end());
  std::sort(part.experts.begin(), part.experts.end());
  part.experts.erase(std::unique(part.experts.begin(), part.experts.end()), part.experts.end());
  for (const int e : part.experts) part.load.push_back(load[at(e)]);
  std::vector<int> local;
  for (const int e : mine) {
    const auto found = std::lower_bound(part.experts.begin(), part.experts.end(), e);
    local.push_back(static_cast<int>(found - part.experts.begin()));
  }
  const ShareModel own = shares.part(part.load);
  const auto sizes = std::span(t.rank_slots).subspan(at(node) * ranks, ranks);
  int proven_moves = 0;
  part.points = run_pool(own, sizes, local, options, proven_moves);
  return part;
}

// Always goes on at the node that is highest.
std::vector<FrontierPoint> merge_nodes(const std::vector<NodePart>& parts, int most_moves) {
  std::vector<size_t> chosen(parts.size());
  std::vector<FrontierPoint> out;
  while (true) {
    FrontierPoint point;
    size_t highest = 0;
    for (size_t n = 0; n < parts.size(); ++n) {
      const FrontierPoint& own = parts[n].points[chosen[n]];
      point.moves += own.moves;
      if (own.cost > parts[highest].points[chosen[highest]].cost) highest = n;
      for (const int e : own.slot_to_expert)
        point.slot_to_expert.push_back(parts[n].experts[at(e)]);
    }
    point.cost = parts[highest].points[chosen[highest]].cost;
    if (point.moves > most_moves) break;
    if (out.empty() || point.cost < out.back().cost * kProgress) out.push_back(std::move(point));
    if (++chosen[highest] == parts[highest].points.size()) break;
  }
  return out;
}

// dynamic programme over layers: least cost with exactly so many moves at most
std::vector<size_t> choose_exactly(const std::vector<std::vector<FrontierPoint>>& frontiers,
                                   size_t budget) {
  std::vector<double> best(budget + 1, 0.0);
  std::vector<std::vector<uint32_t>> taken;
  for (const auto& points : frontiers) {
    std::vector<double> next(budget + 1, std::numeric_limits<double>::infinity());
    std::vector<uint32_t> choice(budget + 1);
    for (size_t p = 0; p < points.size(); ++p) {
      const auto moves = at(points[p].moves);
      for (size_t b = moves; b <= budget; ++b) {
        const double cost = best[b - moves] + points[p].cost;
        if (cost >= next[b]) continue;
        next[b] = cost;
        choice[b] = static_cast<uint32_t>(p);
      }
    }
    best = std::move(next);
    taken.push_back(std::move(choice));
  }
  std::vector<size_t> out(frontiers.size());
  size_t left = budget;
  for (size_t l = frontiers.size(); l-- > 0;) {
    out[l] = taken[l][left];
    left -= at(frontiers[l][out[l]].moves);
  }
  return out;
}

// Takes the steepest step of any layer as long as one fits.
std::vector<size_t> choose_steepest(const std::vector<std::vector<FrontierPoint>>& frontiers,
                                    int64_t budget) {
  std::vector<size_t> out(frontiers.size());
  while (true) {
    double best_rate = 0;
    size_t best_layer = 0, best_point = 0;
    for (size_t l = 0; l < frontiers.size(); ++l) {
      const auto& points = frontiers[l];
      for (size_t p = out[l] + 1; p < points.size(); ++p) {
        const int moves = points[p].moves - points[out[l]].moves;
        if (moves > budget) break;
        const double rate = (points[out[l]].cost - points[p].cost) / moves;
        if (rate <= best_rate) continue;
        best_rate = rate;
        best_layer = l;
        best_point = p;
      }
    }
    if (best_rate <= 0) return out;
    budget -=
        frontiers[best_layer][best_point].moves - frontiers[best_layer][out[best_layer]].moves;
    out[best_layer] = best_point;
  }
}

}  // namespace

std::vector<FrontierPoint> layer_frontier(const Topology& topology, std::span<const double> load,
                                          std::span<const int> current,
                                          const FrontierOptions& options, int* proven_moves) {
  const ShareModel shares(load, options.objective, options.rows);
  int proven = 0;
  if (!topology.grouped()) {
    auto points = run_pool(shares, topology.rank_slots, current, options, proven);
    if (proven_moves != nullptr) *proven_moves = proven;
    return points;
  }
  // One move cannot bring a group to another node; more might.
  if (proven_moves != nullptr) *proven_moves = options.thorough && options.most_moves > 0 ? 1 : 0;
  FrontierOptions of_node = options;
  of_node.least_replica = 0;
  std::vector<NodePart> parts;
  for (int node = 0; node < topology.nodes; ++node) {
    parts.push_back(node_part(topology, shares, load, current, node, of_node));
  }
  return merge_nodes(parts, options.most_moves);
}

std::vector<size_t> choose_within(const std::vector<std::vector<FrontierPoint>>& frontiers,
                                  int64_t budget) {
  int64_t all = 0;
  double work = 0;
  for (const auto& points : frontiers) {
    WS_CHECK(!points.empty() && points.front().moves == 0);
    all += points.back().moves;
    work += static_cast<double>(points.size());
  }
  if (all <= budget) {
    std::vector<size_t> out;
    for (const auto& points : frontiers) out.push_back(points.size() - 1);
    return out;
  }
  constexpr double kMostWork = 5e7;
  if (work * static_cast<double>(budget + 1) <= kMostWork) {
    return choose_exactly(frontiers, static_cast<size_t>(budget));
  }
  return choose_steepest(frontiers, budget);
}

}  // namespace wingspan
