// Options shared by the commands that run a model, and what they turn into: a checked set-up, and
// ranks that run a body. The composition root: only here are transport and kernels chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/prompts.h"
#include "comm/group.h"
#include "engine/engine.h"
#include "model/config.h"
#include "placement/placement.h"

namespace wingspan {

inline constexpr int kMaxRanks = 1024;

struct ModelOptions {
  std::string model;
  int ep = 1;
  bool ep_given = false;
  std::string transport;  // "", "loopback", "mpi"; "" decides: mpi under mpirun, else loopback
  std::string placement;  // file; "": contiguous
  int redundant = 0;
  std::string compute = "bf16";
  std::string kernel = "auto";
  int64_t prefill_chunk = 512;
  int threads = 0;  // 0: the machine's cores
  uint64_t seed = 0;
  double memory_gb = 0;   // 0: what the machine has
  int max_sequences = 0;  // of a rank at a time; 0: as memory allows
};
// `one_width`: with --ep R; otherwise the command has an --ep of its own. `model_required`: else
// the command has another source of a model.
void add_model_options(CLI::App& app, ModelOptions& options, bool one_width = true,
                       bool model_required = true);

// Everything that is decided before the ranks start; cheap, nothing of the weights is read.
struct SessionSetup {
  ModelOptions options;
  ModelConfig config;
  std::shared_ptr<const WeightSource> source;
  ComputeMode compute = ComputeMode::kBF16;
  DType checkpoint_dtype = DType::kBF16;
  const Kernels* kernels = nullptr;
  Placement placement;
  bool mpi = false;
  int ranks = 1;
  int threads_per_rank = 1;
  // "loopback" or "mpi".
  const char* transport() const { return mpi ? "mpi" : "loopback"; }
  // Whether this process holds rank 0 and so is the one that prints.
  bool speaks = true;
};
// Checks all options against each other and the model; chooses kernels and transport. In an MPI
// run R is the world's size (a different --ep is an error).
Expected<SessionSetup> prepare_session(const ModelOptions& options);
// The same for a config and a source that are there already (synthetic models).
Expected<SessionSetup> prepare_session(const ModelOptions& options, ModelConfig config,
                                       std::shared_ptr<const WeightSource> source);

struct SessionLimits {
  int max_sequences_per_rank = 1;
  int64_t kv_tokens_per_rank = 0;  // enough for the longest request; see kv_tokens_for()
  bool prefix_cache = true;
};
// For `requests` at hand: all of a rank's at a time, as far as memory, --max-sequences and
// kMostSequences allow (a note says where they do not), and KV for those.
SessionLimits limits_for(const SessionSetup& setup, const std::vector<Request>& requests,
                         int ranks);
inline constexpr int kMostSequences = 4096;  // of a rank at a time
// KV positions per rank that let `requests` run without waiting, at most `max_sequences` a rank.
int64_t kv_tokens_for(const std::vector<Request>& requests, int ranks, int max_sequences);
// Checks each request against the model; the error names `where` of the prompt.
Status check_requests(const ModelConfig& config, const std::vector<Request>& requests,
                      const std::vector<Prompt>& prompts);

// The weights that all ranks of this process share, loaded with a progress bar on stderr (when that
// is a terminal). Predicts memory and refuses what does not fit.
Expected<std::shared_ptr<const ModelHost>> load_session(const SessionSetup& setup,
                                                        const SessionLimits& limits);

// Bytes that a server's process may give to the KV cache of its ranks: half of what the weights and
// buffers of `limits` leave.
int64_t kv_bytes_left(const SessionSetup& setup, const SessionLimits& limits);

struct RankContext {
  Group& group;
  Engine& engine;
  double load_s = 0;  // of this rank's own experts, and of the host in run_session
};
using RankBody = std::function<Status(RankContext&)>;
// Starts the ranks; on each, creates the Engine and calls `body`. Returns the first error. `body`
// runs on every rank: print only where group.rank() == 0. Under MPI collective over the world.
Status run_ranks(const SessionSetup& setup, std::shared_ptr<const ModelHost> host,
                 const SessionLimits& limits, const RankBody& body);
// Both.
Status run_session(const SessionSetup& setup, const SessionLimits& limits, const RankBody& body);

}  // namespace wingspan
