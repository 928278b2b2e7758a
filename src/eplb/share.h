// What one replica of an expert costs the rank that holds it, as a function of the number of
// replicas. The two objectives of the balancer differ in this alone.
//
// tokens:    load / replicas: the tokens that a replica computes (prefill is compute-bound).
// activated: 1 − (1 − p / replicas)^rows: the probability that a batch makes the rank read the
//            replica's weights (decode is memory-bound), where p is the expert's share of all
//            routed rows and the batch routes `rows` rows. It treats rows as independent draws: the
//            coupon-collector estimate, an upper bound for the experts of one token, which differ.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace wingspan {

// An expert, rank or slot as an index.
inline size_t at(int i) { return static_cast<size_t>(i); }

// Less than this is rounding, not progress.
inline constexpr double kProgress = 1 - 1e-12;

// Orders as the number does, which is not negative.
inline uint64_t ordered_bits(double x) { return std::bit_cast<uint64_t>(x + 0.0); }

enum class Objective { kTokens, kActivated };

class ShareModel {
 public:
  // `load` must outlive this object: [experts], finite and ≥ 0. `rows` ≥ 1 counts only for
  // kActivated: tokens of a step × top-k.
  explicit ShareModel(std::span<const double> load, Objective objective = Objective::kTokens,
                      double rows = 1)
      : load_(load), rows_(rows), activated_(objective == Objective::kActivated) {
    for (const double l : load) total_ += l;
  }
  // The same objective for a part of the experts; shares stay relative to the whole.
  ShareModel part(std::span<const double> load) const {
    ShareModel out = *this;
    out.load_ = load;
    return out;
  }

  int experts() const { return static_cast<int>(load_.size()); }
  double load(int expert) const { return load_[static_cast<size_t>(expert)]; }
  bool activated() const { return activated_; }

  // Falls strictly with `replicas` ≥ 1 where the expert has load; `replicas × of` never falls.
  double of(int expert, int replicas) const {
    const double l = load_[static_cast<size_t>(expert)];
    if (!activated_) return l / replicas;
    if (!(l > 0)) return 0;
    const double p = l / total_ / replicas;
    return p >= 1 ? 1 : -std::expm1(rows_ * std::log1p(-p));
  }

 private:
  std::span<const double> load_;
  double total_ = 0, rows_;
  bool activated_;
};

}  // namespace wingspan
