#include "cli/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/clock.h"
#include "base/refused.h"
#include "cli/console.h"
#include "cli/cores.h"
#include "comm/loopback.h"
#include "comm/mpi.h"
#include "model/kv_cache.h"
#include "model/memory.h"

namespace wingspan {
namespace {

EngineOptions engine_options(const SessionSetup& s, const SessionLimits& limits) {
  EngineOptions o;
  o.kernels = s.kernels;
  o.threads = s.threads_per_rank;
  o.prefill_chunk = s.options.prefill_chunk;
  o.max_sequences_per_rank = limits.max_sequences_per_rank;
  o.kv_tokens_per_rank = limits.kv_tokens_per_rank;
  o.prefix_cache = limits.prefix_cache;
  return o;
}

MemoryPlan memory_of(const SessionSetup& s, const SessionLimits& limits) {
  MemoryQuestion q;
  q.config = &s.config;
  q.compute = s.compute;
  q.checkpoint_dtype = s.checkpoint_dtype;
  q.placement = &s.placement;
  q.local_ranks = s.mpi ? 1 : s.ranks;
  q.first_rank = s.mpi ? mpi_launch().rank : 0;
  q.kv_tokens_per_rank = limits.kv_tokens_per_rank;
  q.max_rows_per_rank = s.options.prefill_chunk + limits.max_sequences_per_rank;
  return predict_memory(q);
}

// For this process.
int64_t memory_there(const SessionSetup& s) {
  const int64_t there = available_memory_bytes(static_cast<int64_t>(s.options.memory_gb * 1e9));
  return s.mpi ? there / mpi_launch().local_size : there;
}

Status check_session_memory(const SessionSetup& s, const SessionLimits& limits) {
  return check_memory(memory_of(s, limits), memory_there(s));
}

void announce(const SessionSetup& s) {
  if (!s.speaks) return;
  note(fmt::format("{}: {} ranks over {}, {} threads each; kernels {} ({}), compute {}",
                   s.config.name, s.ranks, s.transport(), s.threads_per_rank, s.kernels->name,
                   s.kernels->variant, compute_mode_name(s.compute)));
}

}  // namespace

int64_t kv_bytes_left(const SessionSetup& setup, const SessionLimits& limits) {
  return (memory_there(setup) - memory_of(setup, limits).total()) / 2;
}

int64_t kv_tokens_for(const std::vector<Request>& requests, int ranks, int max_sequences) {
  std::vector<int64_t> sizes;
  for (const Request& r : requests) {
    const int64_t tokens = static_cast<int64_t>(r.prompt.size()) + r.max_tokens;
    sizes.push_back((tokens + kKvBlock - 1) / kKvBlock * kKvBlock);
  }
  std::sort(sizes.rbegin(), sizes.rend());
  const size_t a_rank =
      (sizes.size() + static_cast<size_t>(ranks) - 1) / static_cast<size_t>(ranks);
  const size_t running = std::min({a_rank, static_cast<size_t>(max_sequences), sizes.size()});
  return std::accumulate(sizes.begin(), sizes.begin() + static_cast<std::ptrdiff_t>(running),
                         int64_t{0});
}

SessionLimits limits_for(const SessionSetup& setup, const std::vector<Request>& requests,
                         int ranks) {
  const auto width = static_cast<size_t>(ranks);
  const size_t a_rank = std::max<size_t>(1, (requests.size() + width - 1) / width);
  const auto with = [&](size_t sequences) {
    SessionLimits limits;
    limits.max_sequences_per_rank = static_cast<int>(sequences);
    limits.kv_tokens_per_rank = kv_tokens_for(requests, ranks, limits.max_sequences_per_rank);
    return limits;
  };
  size_t wanted = std::min<size_t>(a_rank, kMostSequences);
  const bool asked = setup.options.max_sequences > 0;
  if (asked) wanted = std::min(wanted, static_cast<size_t>(setup.options.max_sequences));
  size_t fits = wanted;
  // Without an order each rank runs as many as memory allows; an order that is too large is refused
  // by the check before loading.
  if (!asked && setup.placement.topology.ranks() == ranks) {
    const int64_t there = memory_there(setup);
    while (fits > 1 && memory_of(setup, with(fits)).total() > there) fits -= (fits + 7) / 8;
  }
  if (fits < a_rank && setup.speaks) {
    note(
        fmt::format("{} of {} sequences of a rank run at a time, the others wait ({}); "
                    "the bits stay",
                    fits, a_rank,
                    asked           ? "--max-sequences"
                    : fits < wanted ? "memory; --max-sequences N sets it"
                                    : fmt::format("the most is {}", kMostSequences)));
  }
  return with(fits);
}

Status check_requests(const ModelConfig& config, const std::vector<Request>& requests,
                      const std::vector<Prompt>& prompts) {
  for (size_t i = 0; i < requests.size(); ++i) {
    const Status status = check_request(config, requests[i]);
    if (!status) return invalid_input(status.error().what, prompts[i].where, status.error().fix);
  }
  return {};
}

Expected<std::shared_ptr<const ModelHost>> load_session(const SessionSetup& setup,
                                                        const SessionLimits& limits) {
  WS_RETURN_IF_ERROR(check_session_memory(setup, limits));
  announce(setup);
  LoadProgress progress;
  const LoadBar bar(progress);
  return load_model_host(setup.config, setup.source, setup.compute, setup.options.threads,
                         &progress);
}

Status run_ranks(const SessionSetup& setup, std::shared_ptr<const ModelHost> host,
                 const SessionLimits& limits, const RankBody& body) {
  const int64_t begin = system_clock().now_ns();
  LoadProgress progress;
  auto bar = std::make_unique<LoadBar>(progress);
  const Cores cores;
  const int own = setup.threads_per_rank;
  const int first_thread = setup.mpi ? mpi_launch().local_rank * own : 0;
  const int threads = (setup.mpi ? mpi_launch().local_size : setup.ranks) * own;
  const auto run_rank = [&](Group& group) -> Status {
    const int mine = first_thread + (setup.mpi ? 0 : group.rank() * own);
    const PlacedThread placed(cores, mine, threads);
    EngineOptions options = engine_options(setup, limits);
    options.on_thread = [&cores, mine, threads](int t) { cores.place(mine + t, threads); };
    WS_ASSIGN(auto engine, Engine::create(group, host, setup.placement, options, &progress));
    WS_RETURN_IF_ERROR(group.barrier());
    if (group.rank() == 0) bar.reset();
    RankContext context{group, *engine, seconds(begin, system_clock().now_ns())};
    return body(context);
  };
  if (!setup.mpi) return run_loopback(setup.ranks, {}, run_rank);
  WS_ASSIGN(auto world, make_mpi());
  Status status;
  try {
    status = run_rank(*world);
  } catch (const std::exception&) {
    status = Unexpected(error_of_exception());
  }
  if (!status) world->abort(status.error());
  return status;
}

Status run_session(const SessionSetup& setup, const SessionLimits& limits, const RankBody& body) {
  const int64_t begin = system_clock().now_ns();
  WS_ASSIGN(auto host, load_session(setup, limits));
  const double host_s = seconds(begin, system_clock().now_ns());
  return run_ranks(setup, std::move(host), limits, [&](RankContext& rank) {
    rank.load_s += host_s;
    return body(rank);
  });
}

}  // namespace wingspan
