// Proven lower bounds on the largest rank load of a pool, over all placements that obey rules 1 to
// 3 of docs/plan-format.md. All are O(experts · log) and hold for any replica counts.
#pragma once

#include <span>

#include "eplb/share.h"

namespace wingspan {

// The larger of two bounds. Mean: what all ranks carry at least, over the ranks that have slots.
// Largest replica: the least possible with these slots, at most one replica a rank and expert (an
// expert with more has, on some rank, at least that share).
double basic_bound(const ShareModel& shares, std::span<const int> rank_slots);
// The same where choose_replicas has already told the largest replica's share.
double basic_bound(const ShareModel& shares, int slots, int usable_ranks, double largest_replica);

// For ranks of different size: the k smallest hold at most as many experts as they have slots, so
// the other ranks carry at least the load of all but that many of the heaviest. The largest of this
// over k; tokens only, else 0.
double small_ranks_bound(const ShareModel& shares, std::span<const int> rank_slots);

// At least small_ranks_bound, and more for few slots a rank, where a large replica forces small
// ones beside it. Tokens only; the other objective gets basic_bound.
//
// For m slots a rank (smaller ranks: filled up with empty slots), a load limit T and any x in
// (0, T/m], let f(w) = max(0, w − T + (m−1)x) − max(0, x − w). If no rank exceeds T, the f of its
// m replicas add up to at most 0: with k replicas above T − (m−1)x, the sum is at most
// Σw − kT + k(m−1)x − (m−k)x ≤ −(k−1)(T − mx) for k ≥ 1, and no term is positive for k = 0. So T is
// impossible when Σ f > 0 for all replica counts. Over the counts c of an expert with load L,
// c·f(L/c) falls by at most A = T − (m−1)x a further slot until c ≥ L/A, then by at most x; the sum
// of the best falls for the redundant slots gives the least Σ f. T is found by bisection, x on a
// grid; at x = T/m this is the mean. `low` is a bound that is known, `high` a load that was
// reached; returns at least `low`.
double few_slots_bound(const ShareModel& shares, std::span<const int> rank_slots, double low,
                       double high);

}  // namespace wingspan
