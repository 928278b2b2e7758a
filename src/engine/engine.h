// One rank of the engine: applies orders, plans steps, runs them, samples, commits. Every rank runs
// the same code (SPMD); a step's tokens count once every rank has finished the step. The contract
// of a step is docs/step.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "comm/group.h"
#include "engine/messages.h"
#include "kernels/kernels.h"
#include "model/weights.h"
#include "placement/load.h"
#include "placement/placement.h"

namespace wingspan {

// What the ranks of one process share, read-only.
struct ModelHost {
  ModelConfig config;
  ComputeMode compute = ComputeMode::kBF16;
  std::shared_ptr<const WeightSource> source;
  std::unique_ptr<const ModelWeights> weights;
};

// Loads the shared part. `threads` share the work.
Expected<std::shared_ptr<const ModelHost>> load_model_host(
    ModelConfig config, std::shared_ptr<const WeightSource> source, ComputeMode compute,
    int threads, LoadProgress* progress);

// Whether ranks that share memory multiply the weights that all of them hold over the rows of all
// (ep/joint_rows.h). Never changes a bit.
enum class JoinRows { kWherePays, kAlways, kNever };

struct EngineOptions {
  const Kernels* kernels = nullptr;
  int threads = 1;  // of this rank
  // Called on each thread of the rank but its own, with the thread's index ≥ 1, as it starts
  // (pinning).
  std::function<void(int)> on_thread;
  int64_t prefill_chunk = 512;      // tokens of one prompt a step
  int max_sequences_per_rank = 64;  // running at a time
  int64_t kv_tokens_per_rank = 0;   // positions that the KV blocks of a rank hold
  JoinRows join_rows = JoinRows::kWherePays;
  bool prefix_cache = true;  // prompts reuse KV blocks of earlier ones; never changes a bit
};

// Receives what the run makes. Called on rank 0 only, by its thread, between steps; in the order of
// positions for each request. The default does nothing.
class RunSink {
 public:
  virtual ~RunSink() = default;
  virtual void on_token(int /*request*/, int32_t /*token*/, float /*logprob*/) {}
  virtual void on_finish(int /*request*/, FinishReason /*reason*/) {}
  // Logits at a position: [vocab]. Which rows: Capture::logits.
  virtual void on_logits(int /*request*/, int64_t /*position*/, std::span<const float> /*logits*/) {
  }
  // After a decoder layer: [hidden].
  virtual void on_hidden(int /*request*/, int64_t /*position*/, int /*layer*/,
                         std::span<const float> /*hidden*/) {}
  virtual void on_routing(int /*request*/, int64_t /*position*/, int /*layer*/,
                          std::span<const int32_t> /*experts*/,
                          std::span<const float> /*weights*/) {}
  // [experts]
  virtual void on_router_logits(int /*request*/, int64_t /*position*/, int /*layer*/,
                                std::span<const float> /*logits*/) {}
  // After each committed step.
  virtual void on_step(int64_t /*step*/) {}
  // A further reason to stop (stop texts), asked in Engine::run() after on_token(): true ends the
  // request with kStop. Tokens that the steps on their way still make are dropped.
  virtual bool should_stop(int /*request*/, int32_t /*token*/) { return false; }
};

struct Capture {
  bool logits = false;         // rows from which a token is sampled
  bool prompt_logits = false;  // and every prompt position
  bool hidden = false;
  bool routing = false;
  bool router_logits = false;
  bool any() const { return logits || prompt_logits || hidden || routing || router_logits; }
};

struct RunOptions {
  Capture capture;
  int64_t load_window_steps = 0;  // > 0: record expert loads in windows of so many steps
  // Computes every n-th step twice and compares all that it would commit; 0: never. A difference is
  // an error (kFailed).
  int64_t audit_every = 0;
};

struct RunReport {
  std::vector<RequestResult> results;  // in the order of the requests
  Load load;                           // summed over ranks; one window unless load_window_steps
  StepTimes prefill, decode;           // of this rank; a step with any prompt row counts as prefill
  int64_t prompt_tokens = 0, completion_tokens = 0;
};

// Steps of all ranks together, as long as somebody gives orders.
class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // Collective. One step: applies the orders that the last commit carried, computes, commits.
  // `source` is asked on rank 0 and ignored elsewhere. The report is valid until the next call.
  // Errors: a lost peer, ranks that did not do the same step, a failed audit.
  virtual Expected<const StepReport*> step(OrderSource* source) = 0;
  // Expert loads so far, complete after the last step; on rank 0.
  virtual const Load& load() const = 0;
};

class Engine {
 public:
  // Collective. Loads this rank's experts, sizes all buffers, and agrees with the other ranks on
  // model, placement, numeric profile and kernels; a rank that differs is an error that says in
  // what.
  static Expected<std::unique_ptr<Engine>> create(Group& group,
                                                  std::shared_ptr<const ModelHost> host,
                                                  const Placement& placement,
                                                  const EngineOptions& options,
                                                  LoadProgress* progress);
  virtual ~Engine() = default;

  // Collective, one at a time. `sink` gets the captured rows and on_step, on rank 0; it and the
  // engine outlive the runner.
  virtual Expected<std::unique_ptr<StepRunner>> start(const RunOptions& options, RunSink& sink) = 0;
  // Collective: the same requests and options on every rank. Drives steps until all requests have
  // ended. May be called again.
  // Errors: a request that is empty, too long, or names ids outside the vocabulary (kInvalidInput);
  // those of a step.
  Expected<RunReport> run(const std::vector<Request>& requests, const RunOptions& options,
                          RunSink& sink);
  virtual const StepLimits& limits() const = 0;
  virtual int64_t expert_weight_bytes() const = 0;

 protected:
  virtual Group& group() = 0;
  virtual const ModelConfig& config() const = 0;
};

// The checks of a request by itself: ids, lengths, sampling. Error (kInvalidInput): names the
// field.
Status check_request(const ModelConfig& config, const Request& request);
// Whether a sequence can ever run within the limits of an engine.
Status check_fits(const StepLimits& limits, int64_t prompt_tokens, int64_t max_tokens);

}  // namespace wingspan
