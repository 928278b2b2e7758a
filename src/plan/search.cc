#include "plan/search.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "base/check.h"
#include "plan/search_frontier.h"

namespace wingspan {
namespace {

// The second half: groups and prefill instances together, within a number of GPUs.
class Composer {
 public:
  Composer(const ServingModel& model, const SearchSpace& space, const SearchLimits& limits,
           int gpus, double relax)
      : model_(model),
        space_(space),
        limits_(limits),
        gpus_(gpus),
        ttft_limit_(limits.ttft_ms * relax) {}

  void add(const GroupFrontier& frontier, int gpus_without_budget) {
    for (const GroupPoint& point : frontier.points) {
      if (frontier.aggregated) {
        add_aggregated(point, gpus_without_budget);
      } else {
        for (const PrefillShape& prefill : space_.prefills) {
          const PrefillFigures figures = model_.prefill(prefill, point.shape);
          if (!figures.fits) {
            ++rejected.memory;
            continue;
          }
          add_disaggregated(point, prefill, figures, gpus_without_budget);
        }
      }
    }
  }

  std::vector<Candidate> pool;
  RejectedCounts rejected;
  double least_ttft_ms = 0;  // at the percentile, of what fits; 0: nothing does

 private:
  // Batch at which `groups` groups carry just the rate; the point's own batch carries at least it.
  double batch_for(const GroupPoint& point, bool aggregated, double group_rps) const {
    double low = 0, high = point.batch_per_gpu;
    for (int i = 0; i < 40; ++i) {
      const double middle = (low + high) / 2;
      const StepFigures f = model_.step(point.shape, middle, aggregated);
      (group_rate(point.shape, middle, f.itl_ms, limits_.osl) < group_rps ? low : high) = middle;
    }
    return high;
  }

  double tokens() const { return limits_.isl * (1 - limits_.cached_fraction); }

  // Prefill instances that a rate needs with the headroom free.
  int prefill_instances(double rate, const PrefillFigures& prefill) const {
    const double needed = rate * tokens() / (prefill.tokens_per_s * (1 - limits_.headroom));
    return std::max(1, static_cast<int>(std::ceil(needed - 1e-9)));
  }

  // More than `gpus_` allows, but not more than would be there with all the money: the budget.
  bool too_many(double used, int gpus_without_budget) {
    if (used <= gpus_) return false;
    if (used <= gpus_without_budget) ++rejected.budget;
    return true;
  }

  void add_aggregated(const GroupPoint& point, int gpus_without_budget) {
    int groups = gpus_ / point.shape.ep;
    double batch = point.batch_per_gpu;
    if (limits_.rate_rps) {
      const double needed = std::ceil(*limits_.rate_rps / point.requests_per_s - 1e-9);
      if (too_many(needed * point.shape.ep, gpus_without_budget)) return;
      groups = std::max(1, static_cast<int>(needed));
      batch = batch_for(point, true, *limits_.rate_rps / groups);
    } else if (groups == 0) {
      too_many(point.shape.ep, gpus_without_budget);
      return;
    }
    Candidate c;
    c.decode = point.shape;
    c.decode_instances = groups;
    c.batch_per_gpu = batch;
    take(c);
  }

  void add_disaggregated(const GroupPoint& point, const PrefillShape& prefill,
                         const PrefillFigures& figures, int gpus_without_budget) {
    const int group = point.shape.ep, instance = prefill.ep;
    if (too_many(group + instance, gpus_without_budget)) return;
    // What no queue can shorten: the prompt itself, its hand-off, the first step.
    const double least_ms = figures.lanes * tokens() / figures.tokens_per_s * 1e3 +
                            figures.handoff_ms + point.figures.step_ms;
    if (least_ms > ttft_limit_) {
      if (least_ttft_ms == 0 || least_ms < least_ttft_ms) least_ttft_ms = least_ms;
      ++rejected.ttft;
      return;
    }
    Candidate c;
    c.decode = point.shape;
    c.prefill = prefill;
    c.batch_per_gpu = point.batch_per_gpu;
    if (limits_.rate_rps) {
      const double needed = std::ceil(*limits_.rate_rps / point.requests_per_s - 1e-9);
      const int prefills = prefill_instances(*limits_.rate_rps, figures);
      const double used = needed * group + static_cast<double>(prefills) * instance;
      if (too_many(used, gpus_without_budget)) return;
      c.decode_instances = std::max(1, static_cast<int>(needed));
      c.batch_per_gpu = batch_for(point, false, *limits_.rate_rps / c.decode_instances);
      c.prefill_instances = prefills;
      add_prefills_until_fast(c);
      return;
    }
    // The more groups, the more throughput: count down to the first number that fits.
    const double prefill_gpus_each = point.requests_per_s * tokens() /
                                     (figures.tokens_per_s * (1 - limits_.headroom)) * instance;
    int groups = static_cast<int>(gpus_ / (group + prefill_gpus_each)) + 1;
    // From the first that fits on, larger strides: only the queue is to be shortened.
    for (int stride = 1; groups >= 1; groups -= stride) {
      c.decode_instances = groups;
      c.prefill_instances = prefill_instances(groups * point.requests_per_s, figures);
      if (groups * group + c.prefill_instances * instance > gpus_) continue;
      if (add_prefills_until_fast(c)) return;
      stride = std::max(1, groups / 8);
    }
  }

  // A further prefill instance shortens the queue; how many there is room for.
  bool add_prefills_until_fast(Candidate c) {
    const int room = gpus_ - c.decode_instances * c.decode.ep;
    for (int tries = 0; c.prefill_instances * c.prefill.ep <= room && tries < 4; ++tries) {
      if (take(c)) return true;
      c.prefill_instances += std::max(1, c.prefill_instances / 8);
    }
    return false;
  }

  bool take(const Candidate& shape) {
    const int used =
        shape.decode_instances * shape.decode.ep + shape.prefill_instances * shape.prefill.ep;
    Candidate c = evaluate_candidate(model_, limits_, shape, limits_.rate_rps ? used : gpus_);
    const double ttft = c.ttft_ms.at_percentile;
    if (least_ttft_ms == 0 || ttft < least_ttft_ms) least_ttft_ms = ttft;
    if (ttft > ttft_limit_) {
      ++rejected.ttft;
      return false;
    }
    pool.push_back(std::move(c));
    return true;
  }

  const ServingModel& model_;
  const SearchSpace& space_;
  const SearchLimits& limits_;
  int gpus_;
  double ttft_limit_;
};

// Sorted by falling speed, kept where throughput rises strictly, turned round.
std::vector<Candidate> pareto_front(std::vector<Candidate> pool) {
  std::stable_sort(pool.begin(), pool.end(), [](const Candidate& a, const Candidate& b) {
    return a.tokens_per_s_per_user != b.tokens_per_s_per_user
               ? a.tokens_per_s_per_user > b.tokens_per_s_per_user
               : a.tokens_per_s_per_gpu > b.tokens_per_s_per_gpu;
  });
  std::vector<Candidate> front;
  for (Candidate& c : pool) {
    // Equal but for rounding is equal.
    if (front.empty() || c.tokens_per_s_per_gpu > front.back().tokens_per_s_per_gpu * (1 + 1e-9)) {
      front.push_back(std::move(c));
    }
  }
  std::reverse(front.begin(), front.end());
  return front;
}

template <class Key>
std::vector<Candidate> best_of_each(const std::vector<Candidate>& sorted, Key key) {
  std::map<decltype(key(sorted[0])), bool> seen;
  std::vector<Candidate> best;
  for (const Candidate& c : sorted) {
    if (seen.emplace(key(c), true).second) best.push_back(c);
  }
  return best;
}

struct Pass {
  SearchResult result;
  double least_itl_ms = 0, least_ttft_ms = 0;
};

Pass run_pass(const ServingModel& model, const SearchSpace& space, const SearchLimits& limits,
              int gpus, double relax_ttft, const FrontierReport& groups) {
  Pass pass;
  Composer composer(model, space, limits, gpus, relax_ttft);
  for (const GroupFrontier& frontier : groups.frontiers) composer.add(frontier, limits.gpus);
  SearchResult& r = pass.result;
  r.rejected = composer.rejected;
  r.rejected.memory += groups.memory;
  r.rejected.itl = groups.itl;
  pass.least_itl_ms = groups.least_itl_ms;
  pass.least_ttft_ms = composer.least_ttft_ms;
  std::vector<Candidate>& pool = composer.pool;
  std::stable_sort(pool.begin(), pool.end(),
                   [&](const Candidate& a, const Candidate& b) { return better(limits, a, b); });
  r.ranked = best_of_each(pool, [](const Candidate& c) {
    return std::tuple(c.aggregated, c.decode.ep, c.decode.attention_tp);
  });
  r.by_width = best_of_each(pool, [](const Candidate& c) { return c.decode.ep; });
  std::sort(r.by_width.begin(), r.by_width.end(),
            [](const Candidate& a, const Candidate& b) { return a.decode.ep < b.decode.ep; });
  r.pareto = pareto_front(std::move(pool));
  return pass;
}

// What comes nearest when nothing holds: first without the rate, then with ever weaker limits.
void find_nearest(const ServingModel& model, const SearchSpace& space, const SearchLimits& limits,
                  int gpus, const Pass& strict, SearchResult& result) {
  if (gpus == 0) {
    result.broken = LimitKind::kBudget;
    return;
  }
  if (strict.least_itl_ms == 0) {
    result.broken = LimitKind::kMemory;
    return;
  }
  SearchLimits free = limits;
  free.rate_rps.reset();
  double itl = std::max(1.0, strict.least_itl_ms / limits.itl_ms * 1.02), ttft = 1;
  for (int i = 0; i < 12; ++i) {
    const FrontierReport groups = group_frontiers(model, space, free, itl);
    Pass pass = run_pass(model, space, free, gpus, ttft, groups);
    if (!pass.result.ranked.empty()) {
      const Candidate& c = pass.result.ranked.front();
      result.nearest = c;
      const double over_itl = c.itl_ms.at_percentile / limits.itl_ms;
      const double over_ttft = c.ttft_ms.at_percentile / limits.ttft_ms;
      if (over_itl <= 1 && over_ttft <= 1) {
        result.broken = gpus < limits.gpus ? LimitKind::kBudget : LimitKind::kRate;
      } else {
        result.broken = over_itl > over_ttft ? LimitKind::kItl : LimitKind::kTtft;
      }
      return;
    }
    // Nothing was within TTFT: as far as the fastest needs. No group fitted beside a prefill
    // instance: no limit helps.
    if (pass.least_ttft_ms == 0) break;
    ttft = std::max(ttft * 1.5, pass.least_ttft_ms / limits.ttft_ms * 1.02);
  }
  result.broken = gpus < limits.gpus ? LimitKind::kBudget : LimitKind::kMemory;
}

}  // namespace

SearchResult search(const ServingModel& model, const SearchSpace& space, const SearchLimits& limits,
                    std::shared_ptr<const FrontierReport> groups) {
  WS_CHECK(limits.percentile >= 50 && limits.percentile < 100, "{}", limits.percentile);
  int gpus = limits.gpus;
  if (limits.budget_usd_hour) {
    WS_CHECK(limits.gpu_usd_hour > 0);
    gpus = static_cast<int>(
        std::min<double>(gpus, std::floor(*limits.budget_usd_hour / limits.gpu_usd_hour + 1e-9)));
  }
  if (groups == nullptr) {
    groups = std::make_shared<FrontierReport>(group_frontiers(model, space, limits, 1));
  }
  Pass strict = run_pass(model, space, limits, gpus, 1, *groups);
  strict.result.groups = std::move(groups);
  if (strict.result.ranked.empty()) {
    find_nearest(model, space, limits, gpus, strict, strict.result);
  }
  return std::move(strict.result);
}

}  // namespace wingspan
