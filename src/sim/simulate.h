// A deployment under a stream of requests, in virtual time: prefill servers with one FCFS queue, KV
// hand-off, decode instances with the real scheduler's continuous batching. Times of a step and of
// a prompt are functions that the caller gives (the planner's), so this file knows no hardware.
//
// Pure and single-threaded: the same deployment, requests and seed give the same result.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "plan/prompt_time.h"
#include "sim/distribution.h"
#include "sim/workload.h"

namespace wingspan {

// servers = 0: aggregated, prompts are read inside the decode steps of their rank.
struct PrefillPool {
  int servers = 0;
  std::function<double(double prompt_tokens)> service_s;
  // Time that the KV cache of a prompt takes to the decode pool.
  std::function<double(double prompt_tokens)> handoff_s;
};

struct DecodePool {
  int instances = 1;
  int ranks = 1;  // attention ranks of an instance: each owns whole sequences
  int max_sequences_per_rank = 1;
  int64_t kv_tokens_per_rank = 1;
  // Time of a step whose fullest rank has that many sequences, of that mean context.
  std::function<double(double sequences, double context)> step_s;
  double accepted_per_step = 1;  // tokens of a sequence and step, ≥ 1
  // Aggregated: time that a prompt adds to a step, per token, and the steps that prompts wait so
  // that ranks read them together, ≥ 1.
  PromptTime prompt_time;
  int prefill_wait_steps = 1;
  int64_t prefill_chunk = 0;  // tokens of one prompt in a step; 0: whole prompts
};

struct SimDeployment {
  PrefillPool prefill;
  DecodePool decode;
};

struct SimOptions {
  // Requests [first_measured, last_measured) count; the run ends when all of them have finished.
  int first_measured = 0, last_measured = 0;
  // The first so many requests are in decode from the start, so that a run begins near its steady
  // state: they wait for nothing, and their prompts cost no time.
  int running_at_start = 0;
  uint64_t seed = 1;
  int64_t max_steps = 4000000;  // over all instances; more: the result says `cut_off`
};

struct SimResult {
  Distribution ttft_ms;   // arrival to first token
  Distribution queue_ms;  // of that, waiting for a prefill server; empty if aggregated
  Distribution itl_ms;    // over requests, the mean gap of each; those of one token don't count
  double output_tokens_per_s = 0;  // of the measured, from the first arrival to the last one's
  // Over time from the first measured arrival on; sequences per attention rank of the decode pool.
  double mean_sequences_per_rank = 0;
  double prefill_utilisation = 0;
  int64_t steps = 0;
  int refused = 0;       // too long for a rank's KV cache
  bool cut_off = false;  // the deployment doesn't keep up: what is measured is too good
};

// `requests` in order of arrival.
SimResult simulate(const SimDeployment& deployment, const std::vector<SimRequest>& requests,
                   const SimOptions& options);

}  // namespace wingspan
