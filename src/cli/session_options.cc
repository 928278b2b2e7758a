// The options that every command with a model takes, and their checks before anything is loaded.
#include <fmt/format.h>

#include <algorithm>

#include "base/cpus.h"
#include "cli/session.h"
#include "cli/version.h"
#include "comm/mpi.h"
#include "model/memory.h"

namespace wingspan {
namespace {

constexpr int64_t kMaxChunk = 1 << 16;

Status choose_transport(SessionSetup& s) {
  const MpiLaunch launch = mpi_launch();
  s.mpi = s.options.transport == "mpi" || (s.options.transport.empty() && launch.launched);
  s.ranks = s.options.ep;
  if (!s.mpi) {
    // Under mpirun with --transport loopback each process is a run of its own; one of them speaks.
    s.speaks = launch.rank == 0;
    return {};
  }
  if (!mpi_built_in()) {
    return invalid_input("this build has no MPI transport", "--transport mpi",
                         "install libopenmpi-dev and build again, or use --transport loopback");
  }
  s.speaks = launch.rank == 0;
  s.ranks = launch.size;
  if (!s.options.ep_given || s.options.ep == launch.size) return {};
  return invalid_input(fmt::format("--ep {} but {} MPI processes", s.options.ep, launch.size),
                       "--transport mpi", fmt::format("start with mpirun -n {}", s.options.ep));
}

Status check_placement(const SessionSetup& s) {
  const Placement& p = s.placement;
  const std::string& file = s.options.placement;
  const int experts = s.config.moe.router.experts;
  if (p.topology.experts != experts) {
    return invalid_input(fmt::format("the placement is for {} experts, the model {} has {}",
                                     p.topology.experts, s.config.name, experts),
                         file, "make a placement for this model");
  }
  if (p.topology.ranks() != s.ranks) {
    return invalid_input(
        fmt::format("the placement is for {} ranks, the run has {}", p.topology.ranks(), s.ranks),
        file, fmt::format("use --ep {}", p.topology.ranks()));
  }
  const auto layers = s.config.moe_layers();
  for (const int layer : layers) {
    if (p.find_layer(layer) != nullptr) continue;
    return invalid_input(fmt::format("the placement has no layer {}", layer), file,
                         "make a placement for this model");
  }
  for (const LayerPlacement& layer : p.layers) {
    if (std::find(layers.begin(), layers.end(), layer.layer) != layers.end()) continue;
    // Loads that another engine recorded may include the MTP layers, which are left out here.
    const int64_t mtp = layer.layer - s.config.layers;
    if (mtp >= 0 && mtp < s.config.mtp_layers) continue;
    return invalid_input(
        fmt::format("the placement has layer {}, which has no experts in the model {}", layer.layer,
                    s.config.name),
        file, "make a placement for this model");
  }
  return {};
}

Status choose_placement(SessionSetup& s) {
  if (s.options.placement.empty()) {
    s.placement = contiguous_placement(s.config.moe.router.experts, s.config.moe_layers(), s.ranks,
                                       s.options.redundant);
    return {};
  }
  if (s.options.redundant > 0) {
    return invalid_input("--redundant and --placement exclude each other", "--redundant",
                         "leave one of them out");
  }
  if (!real_files().exists(s.options.placement)) {
    return invalid_input("no such file", s.options.placement, "check --placement");
  }
  WS_ASSIGN(s.placement, read_placement(real_files(), s.options.placement));
  if (!s.mpi && !s.options.ep_given) s.ranks = s.placement.topology.ranks();
  return check_placement(s);
}

Status choose_numerics(SessionSetup& s) {
  WS_ASSIGN(s.compute, compute_mode_from_name(s.options.compute));
  WS_ASSIGN(s.kernels, choose_kernels(s.options.kernel));
  const auto moe = s.config.moe_layers();
  WS_ASSIGN(s.checkpoint_dtype,
            s.source->dtype(moe.empty() ? layer_tensors(s.config, 0).back()
                                        : expert_tensors(s.config, moe[0], 0)[0]));
  if (s.compute != ComputeMode::kFP8 || s.checkpoint_dtype == DType::kF8E4M3) return {};
  return invalid_input(fmt::format("--compute fp8 needs an FP8 checkpoint, this one is {}",
                                   dtype_name(s.checkpoint_dtype)),
                       s.options.model, "use --compute bf16 or f32");
}

}  // namespace

void add_model_options(CLI::App& app, ModelOptions& o, bool one_width, bool model_required) {
  app.add_option("--model", o.model, "Hugging Face directory of the model")
      ->required(model_required);
  if (one_width) {
    app.add_option("--ep", o.ep, "ranks of the expert-parallel group")
        ->check(CLI::Range(1, kMaxRanks))
        ->each([&o](const std::string&) { o.ep_given = true; });
  }
  app.add_option("--transport", o.transport, "loopback (threads) or mpi; default: mpi under mpirun")
      ->check(CLI::IsMember({"loopback", "mpi"}));
  app.add_option("--placement", o.placement, "wingspan-placement file; default: contiguous");
  app.add_option("--redundant", o.redundant, "extra slots per layer without a placement file")
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--compute", o.compute, "f32, bf16 or fp8 (W8A8)")
      ->check(CLI::IsMember({"f32", "bf16", "fp8"}))
      ->capture_default_str();
  app.add_option("--kernel", o.kernel, "auto, reference, portable or avx512")
      ->check(CLI::IsMember({"auto", "reference", "portable", "avx512"}))
      ->capture_default_str();
  app.add_option("--prefill-chunk", o.prefill_chunk, "tokens of a prompt per step")
      ->check(CLI::Range(int64_t{1}, kMaxChunk))
      ->capture_default_str();
  app.add_option("--threads", o.threads,
                 "worker threads in all; default: the CPUs that this process may use")
      ->check(CLI::Range(1, 4096));
  app.add_option("--memory-gb", o.memory_gb, "use at most so much memory; default: what is free")
      ->check(CLI::Range(1e-3, 1e6));
  app.add_option("--max-sequences", o.max_sequences,
                 "sequences of a rank that run at a time, the rest wait; default: as memory allows")
      ->check(CLI::Range(1, kMostSequences));
  app.add_option("--seed", o.seed, "sampling seed")->capture_default_str();
}

Expected<SessionSetup> prepare_session(const ModelOptions& options, ModelConfig config,
                                       std::shared_ptr<const WeightSource> source) {
  SessionSetup s;
  s.options = options;
  s.config = std::move(config);
  s.source = std::move(source);
  WS_RETURN_IF_ERROR(choose_transport(s));
  if (!s.config.moe_layers().empty()) {
    WS_RETURN_IF_ERROR(choose_placement(s));
  } else {
    s.placement.topology = {.experts = 1, .rank_slots = even_rank_slots(1, s.ranks)};
  }
  WS_RETURN_IF_ERROR(choose_numerics(s));
  if (s.options.threads == 0) {
    // A launcher that binds processes has given each its part of the machine.
    const int cpus = available_cpus();
    s.options.threads = s.mpi ? std::min(cpus * mpi_launch().local_size, machine_cores()) : cpus;
  }
  s.threads_per_rank = std::max(1, s.options.threads / (s.mpi ? mpi_launch().local_size : s.ranks));
  return s;
}

Expected<SessionSetup> prepare_session(const ModelOptions& options) {
  if (!real_files().exists(options.model)) {
    return invalid_input("no such directory", options.model, "check --model");
  }
  if (!real_files().is_directory(options.model)) {
    return invalid_input("not a directory", options.model,
                         "give the Hugging Face directory that holds config.json");
  }
  WS_ASSIGN(ModelConfig config, read_model_config(real_files(), options.model));
  WS_ASSIGN(std::shared_ptr<const WeightSource> source,
            open_checkpoint_source(real_files(), options.model));
  return prepare_session(options, std::move(config), std::move(source));
}

}  // namespace wingspan
