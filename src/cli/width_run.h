// Decode steps of one model over an EP width with a fixed batch per rank: what bench, demo and lab
// width measure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cli/session.h"

namespace wingspan {

struct WidthRun {
  int ranks = 1;
  std::vector<RequestResult> results;  // with the log probabilities
  StepTimes prefill, decode;           // rank 0's
  Load load;
  BalanceSummary balance;
  int64_t prompt_tokens = 0, decode_tokens = 0;
  double weight_bytes = 0;  // of a rank: shared weights and rank 0's experts

  double decode_step_ms() const {
    return static_cast<double>(decode.total_ns) /
           static_cast<double>(std::max<int64_t>(1, decode.steps)) * 1e-6;
  }
};

// Requests with random ids: the same for the same arguments.
std::vector<Request> random_requests(const ModelConfig& config, int count, int64_t prompt_tokens,
                                     int64_t new_tokens, uint64_t seed);

// The set-up of a run over `ranks` loopback ranks with a contiguous placement; under MPI `base`
// itself, whose ranks are given.
SessionSetup width_setup(const SessionSetup& base, int ranks);

// Runs `requests` over `ranks` loopback ranks with a contiguous placement. `load_window` as in
// RunOptions.
Expected<WidthRun> run_width(const SessionSetup& base, std::shared_ptr<const ModelHost> host,
                             int ranks, const std::vector<Request>& requests,
                             int64_t load_window = 0);

// Runs `requests` over the loopback ranks and the placement of `setup`.
Expected<WidthRun> run_placed(const SessionSetup& setup, std::shared_ptr<const ModelHost> host,
                              const std::vector<Request>& requests, int64_t load_window = 0);

// A plan for the sum of the load's windows with `redundant` further slots. `rows` (may be null)
// gets that sum, [layers][experts].
Expected<Placement> placement_for(const Load& load, int ranks, int redundant,
                                  std::vector<std::vector<double>>* rows = nullptr);

// Tokens of an expert of a layer and window that got any, in the mean.
double tokens_per_active_expert(std::span<const LoadWindow> windows);

// Same ids and log probabilities, bit for bit.
bool same_bits(const std::vector<RequestResult>& a, const std::vector<RequestResult>& b);

}  // namespace wingspan
