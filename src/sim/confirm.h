// The last word of the search: its finalists in the event simulation, with lengths that vary and
// arrivals that queue.
#pragma once

#include <optional>
#include <vector>

#include "plan/search.h"
#include "sim/simulate.h"

namespace wingspan {

struct ConfirmOptions {
  Arrivals arrivals = Arrivals::kPoisson;
  std::vector<SimRequest> trace;  // kTrace
  double length_cv = 0;
  uint64_t seed = 1;
};

struct Confirmation {
  SimResult result;
  double ttft_ms = 0, itl_ms = 0;  // at the percentile of the limits
  int requests = 0;                // measured
  bool holds = false;              // both limits, and the deployment keeps up
};

Confirmation confirm_candidate(const ServingModel& model, const SearchLimits& limits,
                               const Candidate& candidate, const ConfirmOptions& options);

struct Finalist {
  Candidate candidate;
  Confirmation confirmation;
};

// What a confirmation that doesn't hold breaks: kItl or kTtft, whichever is further beyond its
// limit; kRate where the deployment does not keep up, kMemory where a request never fits.
LimitKind broken_limit(const SearchLimits& limits, const Confirmation& confirmation);

struct Decision {
  std::optional<Finalist> recommended, runner_up;
  std::optional<Finalist> nearest;  // of the refused: what breaks its limits least
  int simulated = 0;
  int refused = 0;  // finalists that the closed form let pass and the simulation did not
};

// Takes candidates best first. One that breaks a limit comes back with less load (or, when a rate
// must be carried, with one instance more) in its place among the others. The runner-up has another
// kind, width or attention TP. After twelve simulations what was not confirmed stays out.
Decision decide_finalists(const ServingModel& model, const SearchLimits& limits,
                          const std::vector<Candidate>& ranked, const ConfirmOptions& options);

}  // namespace wingspan
