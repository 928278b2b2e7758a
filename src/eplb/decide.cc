#include "eplb/decide.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "eplb/migration.h"

namespace wingspan {
namespace {

using Frontier = std::vector<FrontierPoint>;

// Without a price, a move must be worth it by what it brings: points this close to the best count
// as reaching it.
constexpr double kAsGood = 1.005;

bool obeys_rules(const Topology& topology, const std::vector<int>& slots) {
  Placement placement;
  placement.topology = topology;
  placement.layers.push_back({0, slots});
  return placement.validate().has_value();
}

class Chooser {
 public:
  Chooser(const Topology& topology, const LoadMatrix& load,
          const std::vector<std::vector<int>>& current, const std::vector<LayerPlan>& resolved,
          const ChangeOptions& options)
      : t_(topology), load_(load), current_(current), resolved_(resolved), options_(options) {}

  std::optional<Change> run() {
    for (size_t l = 0; l < load_.size(); ++l) {
      resolved_cost_.push_back(largest_cost(t_, resolved_[l].slot_to_expert, shares(l)));
      frontiers_.push_back(frontier_of(l));
    }
    int64_t forced = 0;
    for (const Frontier& points : frontiers_) forced += points.front().moves;
    Change out;
    std::vector<size_t> chosen(frontiers_.size());
    if (options_.move_budget) {
      if (forced > *options_.move_budget) return std::nullopt;
      chosen = within_budget(*options_.move_budget - forced);
    } else {
      for (size_t l = 0; l < frontiers_.size(); ++l) chosen[l] = weigh(l);
    }
    for (size_t l = 0; l < chosen.size(); ++l) {
      const FrontierPoint& point = frontiers_[l][chosen[l]];
      out.moved_slots += point.moves;
      out.slot_to_expert.push_back(point.slot_to_expert);
    }
    out.frontier = totals();
    out.reason = reason(chosen, out);
    return out;
  }

 private:
  ShareModel shares(size_t layer) const {
    return ShareModel(load_[layer], options_.plan.objective, options_.plan.rows);
  }

  // The plan from scratch, with its ranks and slots named so that few of them change.
  FrontierPoint resolved_point(size_t layer) const {
    const auto& now = current_[layer];
    auto target = relabel(t_, now, resolved_[layer].slot_to_expert);
    const int moves = count_moves(now, target);
    return {moves, resolved_cost_[layer], std::move(target)};
  }

  // Without a budget and a price, all that counts is which point is the first as good as the best.
  bool first_good_one_will_do() const {
    return !options_.move_budget && options_.price.expert_bytes == 0;
  }

  Frontier frontier_of(size_t layer) {
    const double cost = resolved_cost_[layer];
    const auto& now = current_[layer];
    if (!obeys_rules(t_, now)) return {resolved_point(layer)};
    FrontierOptions search;
    search.objective = options_.plan.objective;
    search.rows = options_.plan.rows;
    search.target = cost;
    // The same points whatever the budget, so that a larger one is never worse.
    search.thorough = options_.move_budget.has_value();
    if (first_good_one_will_do()) search.enough = cost * kAsGood;
    int proven = 0;
    Frontier points = layer_frontier(t_, load_[layer], now, search, &proven);
    proven_moves_ = std::min<int64_t>(proven_moves_, proven);
    if (points.back().cost <= search.enough || cost >= points.back().cost * (1 - 1e-9)) {
      return points;
    }
    FrontierPoint best = resolved_point(layer);
    while (points.size() > 1 && points.back().moves >= best.moves) points.pop_back();
    points.push_back(std::move(best));
    return points;
  }

  // choose_within starts at 0 moves; layers that must change start at what they need.
  std::vector<size_t> within_budget(int64_t budget) const {
    std::vector<Frontier> shifted = frontiers_;
    for (Frontier& points : shifted) {
      const int base = points.front().moves;
      for (FrontierPoint& point : points) point.moves -= base;
    }
    return choose_within(shifted, budget);
  }

  // The most slots that one rank receives.
  int busiest_receiver(size_t layer, const FrontierPoint& point) const {
    int most = 0;
    size_t slot = 0;
    for (const int size : t_.rank_slots) {
      int received = 0;
      for (int i = 0; i < size; ++i, ++slot) {
        received += point.slot_to_expert[slot] != current_[layer][slot];
      }
      most = std::max(most, received);
    }
    return most;
  }

  // Tokens of the busiest rank, whatever the objective.
  double tokens(size_t layer, const FrontierPoint& point) const {
    return largest_cost(t_, point.slot_to_expert, ShareModel(load_[layer]));
  }

  struct Worth {
    double gain_s = 0, cost_s = 0;
  };
  Worth worth(size_t layer, const FrontierPoint& point) const {
    const MovePrice& price = options_.price;
    const double total = std::accumulate(load_[layer].begin(), load_[layer].end(), 0.0);
    if (!(total > 0)) return {};
    const auto bytes = static_cast<double>(price.expert_bytes);
    const FrontierPoint now{0, 0, current_[layer]};
    const double fewer =
        (tokens(layer, now) - tokens(layer, point)) / total * price.step_tokens * price.top_k;
    return {fewer * price.horizon_steps * 2 * bytes / (price.rank_tflops * 1e12),
            busiest_receiver(layer, point) * bytes / (price.link_gb_s * 1e9)};
  }

  size_t weigh(size_t layer) const {
    const Frontier& points = frontiers_[layer];
    if (first_good_one_will_do()) {
      const double good = resolved_cost_[layer] * kAsGood;
      size_t p = 0;
      while (p + 1 < points.size() && points[p].cost > good) ++p;
      return p;
    }
    size_t best = 0;
    double best_net = 0;
    for (size_t p = 0; p < points.size(); ++p) {
      const Worth w = worth(layer, points[p]);
      const double net = w.gain_s - w.cost_s;
      if (p > 0 && net <= best_net) continue;
      best = p;
      best_net = net;
    }
    return best;
  }

  std::vector<FrontierTotal> totals() const {
    int most = 0;
    for (const Frontier& points : frontiers_) most = std::max(most, points.back().moves);
    std::vector<FrontierTotal> out;
    for (int moves = 0;; moves = moves == 0 ? 1 : 2 * moves) {
      double sum = 0;
      for (size_t l = 0; l < frontiers_.size(); ++l) {
        size_t p = 0;
        while (p + 1 < frontiers_[l].size() && frontiers_[l][p + 1].moves <= moves) ++p;
        const double total = std::accumulate(load_[l].begin(), load_[l].end(), 0.0);
        const double max = tokens(l, frontiers_[l][p]);
        sum += max > 0 ? std::min(1.0, total / t_.ranks() / max) : 1.0;
      }
      out.push_back({moves, sum / static_cast<double>(frontiers_.size())});
      if (moves >= most) return out;
    }
  }

  std::string reason(const std::vector<size_t>& chosen, const Change& change) const {
    double before = 0, after = 0, gain = 0, cost = 0;
    for (size_t l = 0; l < chosen.size(); ++l) {
      const FrontierPoint& point = frontiers_[l][chosen[l]];
      before += tokens(l, {0, 0, current_[l]});
      after += tokens(l, point);
      const Worth w = worth(l, point);
      gain += w.gain_s;
      cost += w.cost_s;
    }
    const std::string step = fmt::format("sum of max rank loads {:.6g} -> {:.6g}", before, after);
    std::string out;
    if (change.moved_slots == 0) {
      out = fmt::format("keep: no move pays; sum of max rank loads stays {:.6g}", before);
    } else {
      out = fmt::format("move {} slots: {}", change.moved_slots, step);
    }
    const bool forced = std::any_of(frontiers_.begin(), frontiers_.end(),
                                    [](const Frontier& f) { return f.front().moves > 0; });
    if (options_.move_budget && *options_.move_budget <= proven_moves_ && !forced) {
      out +=
          options_.move_budget == 1
              ? "; the best of all changes of one slot"
              : fmt::format("; the best of all changes of at most {} slots", *options_.move_budget);
    } else if (options_.move_budget) {
      out += fmt::format("; the best found within a budget of {} moves", *options_.move_budget);
    } else if (options_.price.expert_bytes == 0) {
      out +=
          "; the size of an expert is unknown, so the fewest moves that come within 0.5 % of the "
          "best plan in each layer";
    } else {
      out += fmt::format(
          "; moving takes {:.3g} s of the busiest rank's link at {:g} GB/s and saves "
          "{:.3g} s over {:g} steps of {:g} tokens at {:g} TFLOP/s a rank",
          cost, options_.price.link_gb_s, gain, options_.price.horizon_steps,
          options_.price.step_tokens, options_.price.rank_tflops);
    }
    return out;
  }

  const Topology& t_;
  const LoadMatrix& load_;
  const std::vector<std::vector<int>>& current_;
  const std::vector<LayerPlan>& resolved_;
  const ChangeOptions& options_;
  std::vector<double> resolved_cost_;  // by layer
  std::vector<Frontier> frontiers_;
  int64_t proven_moves_ = std::numeric_limits<int64_t>::max();  // of all layers
};

}  // namespace

std::optional<Change> choose_change(const Topology& topology, const LoadMatrix& load,
                                    const std::vector<std::vector<int>>& current,
                                    const std::vector<LayerPlan>& resolved,
                                    const ChangeOptions& options) {
  WS_CHECK(load.size() == current.size() && load.size() == resolved.size());
  return Chooser(topology, load, current, resolved, options).run();
}

}  // namespace wingspan
