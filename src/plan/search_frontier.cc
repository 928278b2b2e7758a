#include "plan/search_frontier.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "plan/queueing.h"

namespace wingspan {
namespace {

constexpr double kBatchStep = 1.4;  // between neighbouring batches that are looked at
constexpr int kGuesses = 40;
constexpr double kExact = 1e-4;  // of the ITL limit

class Builder {
 public:
  Builder(const ServingModel& model, const SearchSpace& space, const SearchLimits& limits,
          double relax)
      : model_(model),
        space_(space),
        limits_(limits),
        itl_limit_(limits.itl_ms * relax),
        z_(normal_quantile(limits.percentile / 100)) {}

  FrontierReport run() {
    for (const bool aggregated : {false, true}) {
      for (const int ep : space_.widths) {
        GroupFrontier frontier{ep, aggregated, {}};
        add_width(frontier);
        keep_best(frontier.points);
        if (!frontier.points.empty()) report_.frontiers.push_back(std::move(frontier));
      }
    }
    return std::move(report_);
  }

 private:
  void add_width(GroupFrontier& frontier) {
    const std::vector<int> waits =
        frontier.aggregated ? space_.prefill_wait_steps : std::vector<int>{1};
    for (const int tp : space_.attention_tps) {
      if (frontier.ep % tp != 0) continue;
      for (const int slots : slot_choices(space_.experts, frontier.ep)) {
        for (const int depth : space_.mtp_depths) {
          for (const int wait : waits) {
            for (const StepOverlap overlap :
                 {StepOverlap::kNone, StepOverlap::kSingleBatch, StepOverlap::kTwoBatch}) {
              // Attention TP over the whole group exchanges nothing that could be hidden.
              if (overlap != StepOverlap::kNone && tp == frontier.ep) continue;
              add_shape({frontier.ep, tp, slots, depth, overlap, wait}, frontier);
            }
          }
        }
      }
    }
  }

  double quantile(const DecodeShape& shape, bool aggregated, double batch) const {
    return itl_quantile_ms(model_, shape, aggregated, batch, z_);
  }

  void add_shape(const DecodeShape& shape, GroupFrontier& frontier) {
    const double least = 1.0 / shape.ep;  // one sequence in the whole group
    const double most = usable_batch(model_, shape, frontier.aggregated, limits_.headroom);
    if (most < least) {
      ++report_.memory;
      return;
    }
    const double floor_ms = quantile(shape, frontier.aggregated, least);
    if (report_.least_itl_ms == 0 || floor_ms < report_.least_itl_ms) {
      report_.least_itl_ms = floor_ms;
    }
    if (floor_ms > itl_limit_) {
      ++report_.itl;
      return;
    }
    double batch = largest_batch(shape, frontier.aggregated, least, floor_ms - itl_limit_, most);
    for (; batch >= least * 0.999; batch /= kBatchStep) add_point(shape, batch, frontier);
  }

  // ITL rises with the batch, nearly in a line: false position, the end that stays counting half
  // (Illinois). `low` holds the limit, by `below` ≤ 0.
  double largest_batch(const DecodeShape& shape, bool aggregated, double low, double below,
                       double high) const {
    double above = quantile(shape, aggregated, high) - itl_limit_;
    if (above <= 0) return high;
    double free_ms = -below;  // what `low` leaves of the limit
    int same_side = 0;        // guesses in a row: > 0 that held the limit, < 0 that broke it
    for (int i = 0; i < kGuesses && free_ms > kExact * itl_limit_; ++i) {
      const double middle = low + (high - low) * below / (below - above);
      const double over = quantile(shape, aggregated, middle) - itl_limit_;
      if (over <= 0) {
        low = middle, below = over, free_ms = -over;
        same_side = std::max(1, same_side + 1);
        if (same_side > 1) above /= 2;
      } else {
        high = middle, above = over;
        same_side = std::min(-1, same_side - 1);
        if (same_side < -1) below /= 2;
      }
    }
    return low;
  }

  void add_point(const DecodeShape& shape, double batch, GroupFrontier& frontier) const {
    GroupPoint point{shape, batch, model_.step(shape, batch, frontier.aggregated), 0};
    point.requests_per_s = group_rate(shape, batch, point.figures.itl_ms, limits_.osl);
    frontier.points.push_back(std::move(point));
  }

  static void keep_best(std::vector<GroupPoint>& points) {
    std::stable_sort(points.begin(), points.end(), [](const GroupPoint& a, const GroupPoint& b) {
      return a.figures.itl_ms != b.figures.itl_ms ? a.figures.itl_ms < b.figures.itl_ms
                                                  : a.requests_per_s > b.requests_per_s;
    });
    double best = 0;
    std::erase_if(points, [&best](const GroupPoint& p) {
      if (p.requests_per_s <= best) return true;
      best = p.requests_per_s;
      return false;
    });
  }

  const ServingModel& model_;
  const SearchSpace& space_;
  const SearchLimits& limits_;
  double itl_limit_, z_;
  FrontierReport report_;
};

}  // namespace

double itl_quantile_ms(const ServingModel& model, const DecodeShape& shape, bool aggregated,
                       double batch_per_gpu, double z) {
  const double tp = shape.attention_tp;
  const double batch = occupancy_quantile(batch_per_gpu * tp, z) / tp;
  return model.step(shape, std::max(batch, 1e-6), aggregated).itl_ms;
}

double usable_batch(const ServingModel& model, const DecodeShape& shape, bool aggregated,
                    double headroom) {
  const double most = model.max_batch_per_gpu(shape, aggregated);
  if (!(most > 0)) return 0;
  // m + z·√m = places, solved for the mean m of the whole group.
  const double places = most * shape.ep, z = normal_quantile(0.99);
  const double root = (std::sqrt(z * z + 4 * places) - z) / 2;
  return std::min(root * root / shape.ep, most * (1 - headroom));
}

double group_rate(const DecodeShape& shape, double batch_per_gpu, double itl_ms, double osl) {
  WS_CHECK(itl_ms > 0, "{} ms", itl_ms);
  return batch_per_gpu * shape.ep / (osl * itl_ms * 1e-3);
}

FrontierReport group_frontiers(const ServingModel& model, const SearchSpace& space,
                               const SearchLimits& limits, double relax) {
  return Builder(model, space, limits, relax).run();
}

}  // namespace wingspan
