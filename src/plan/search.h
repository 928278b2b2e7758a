// The joint search: EP width, slots, attention TP, batch, MTP depth, overlap, and how many prefill
// and decode instances, or aggregated groups, such that both latency limits hold at a percentile.
//
// How it stays small without missing anything: decode and prefill meet only in the request rate and
// in TTFT. So decode groups are reduced to the frontier of rate over ITL of each width first, and
// instances are counted from the largest number down to the first that fits.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plan/serving.h"

namespace wingspan {

struct SearchLimits {
  int gpus = 8;  // at most
  double isl = 1024, osl = 1024;
  double cached_fraction = 0;
  double ttft_ms = 1000, itl_ms = 50;  // both hold at `percentile`
  double percentile = 95;              // 50 ≤ p < 100
  std::optional<double> budget_usd_hour, rate_rps;
  double gpu_usd_hour = 0;       // needed with a budget
  double arrival_variation = 1;  // squared coefficient of variation of the gaps
  double length_variation = 0;   // the same of prompt lengths
  double headroom = 0.08;        // of prefill and of the KV cache, kept free
};

// What may be chosen from.
struct SearchSpace {
  int experts = 1;
  std::vector<int> widths;      // decode and aggregated groups
  std::vector<int> mtp_depths;  // 0: no drafts
  std::vector<int> attention_tps;
  std::vector<PrefillShape> prefills;
  std::vector<int> prefill_wait_steps;  // aggregated
};
// Widths up to `gpus`, attention TP inside a scale-up domain, MTP depths up to 3 where the model
// has the layer.
SearchSpace default_space(int experts, int gpus, int scaleup_domain, bool mtp);
// Slots for one width: as many as needed, one more on each GPU, and an eighth more, each filling
// the GPUs evenly.
std::vector<int> slot_choices(int experts, int ep);

struct RejectedCounts {
  int64_t memory = 0, ttft = 0, itl = 0, budget = 0;
};

enum class LimitKind { kNone, kMemory, kTtft, kItl, kBudget, kRate };

struct FrontierReport;  // plan/search_frontier.h

struct SearchResult {
  // Candidates that hold everything, best first, at most one for each (kind, width, instances).
  std::vector<Candidate> ranked;
  // Non-dominated in (tokens/s/user, tokens/s/GPU), by rising tokens/s/user.
  std::vector<Candidate> pareto;
  // The best of each width that holds the limits: what a width costs.
  std::vector<Candidate> by_width;
  RejectedCounts rejected;
  // Only if `ranked` is empty: what comes nearest, and the limit that it breaks.
  std::optional<Candidate> nearest;
  LimitKind broken = LimitKind::kNone;
  // What groups can do, whatever TTFT and the GPUs: for searches that differ only in these.
  std::shared_ptr<const FrontierReport> groups;
};

// `groups`: of a search whose limits differ in ttft_ms alone; null: they are looked at anew.
SearchResult search(const ServingModel& model, const SearchSpace& space, const SearchLimits& limits,
                    std::shared_ptr<const FrontierReport> groups = nullptr);

// The figures of one deployment at one batch; `gpus` and `idle_gpus` follow from `paid_gpus`.
Candidate evaluate_candidate(const ServingModel& model, const SearchLimits& limits,
                             const Candidate& shape, int paid_gpus);

// Whether a ranks before b: by throughput over all GPUs, or, with a rate, by cost; ties by speed,
// then by the simpler deployment.
bool better(const SearchLimits& limits, const Candidate& a, const Candidate& b);

}  // namespace wingspan
