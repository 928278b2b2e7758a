// Requests that come, go and are cancelled while steps run, and what one of them is answered.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "base/hash.h"
#include "base/rng.h"
#include "comm/loopback.h"
#include "engine/engine.h"
#include "engine/run_model.h"

namespace wingspan::test {

struct Answered {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  uint64_t hash = 0;
  FinishReason finish = FinishReason::kNone;
  int64_t cached_tokens = 0;
  bool operator==(const Answered& o) const {
    return ids == o.ids && logprobs == o.logprobs && hash == o.hash && finish == o.finish;
  }
};

struct TrafficSpec {
  std::string model;
  ComputeMode compute = ComputeMode::kBF16;
  int ranks = 1;
  PlacementKind placement = PlacementKind::kContiguous;
  int64_t chunk = 64;
  int max_sequences = 4;
  int64_t kv_tokens = 4096;  // of a rank
  int64_t audit_every = 0;
  uint64_t seed = 0;
  int neighbours = 0;
  int needles = 1;  // the same request so often, one after the other
};

struct TrafficResult {
  std::vector<Answered> needles;
  int64_t preemptions = 0, cancelled = 0, cache_hits = 0;
};

// Gives neighbours at random steps, cancels some, and the needle in the middle of it.
class Traffic final : public OrderSource {
 public:
  Traffic(const TrafficSpec& spec, const Request& needle, int64_t vocab)
      : spec_(spec), needle_(needle), vocab_(vocab), rng_(spec.seed, 7) {
    result.needles.resize(static_cast<size_t>(spec.needles));
  }

  void next(Orders& orders, bool idle) override {
    if (idle && asked_ && waiting_needle_ == 0 && needles_given_ == spec_.needles &&
        given_ == spec_.neighbours) {
      orders.stop = true;
      return;
    }
    asked_ = true;
    if (given_ < spec_.neighbours && rng_.below(2) == 0) orders.add.push_back(neighbour());
    const bool due = given_ * 2 >= spec_.neighbours || rng_.below(4) == 0;
    if (needles_given_ < spec_.needles && waiting_needle_ == 0 && due) {
      Submit needle{1000000 + needles_given_, needle_};
      needle.request.priority = 1;  // preempted first
      ++needles_given_;
      waiting_needle_ = needle.id;
      orders.add.push_back(std::move(needle));
    }
    if (!live_.empty() && rng_.below(12) == 0) {
      const size_t victim = rng_.below(live_.size());
      orders.cancel.push_back(live_[victim]);
      ++result.cancelled;
    }
    if (rng_.below(16) == 0) orders.prompt_rows = static_cast<int64_t>(rng_.below(40));
  }

  void take(const StepReport& report) {
    result.preemptions = report.preemptions;
    result.cache_hits = report.cache_hits;
    for (const StartEvent& event : report.started) {
      if (Answered* a = needle_of(event.id)) a->cached_tokens = event.cached_tokens;
    }
    for (const TokenEvent& event : report.tokens) {
      if (Answered* a = needle_of(event.id)) {
        a->ids.push_back(event.token);
        a->logprobs.push_back(event.logprob);
        a->hash = hash_mix(a->hash, event.logits_hash);
        a->finish = event.finish;
      }
      if (event.finish != FinishReason::kNone) ended(event.id);
    }
    for (const EndEvent& event : report.ended) ended(event.id);
  }

  TrafficResult result;

 private:
  Submit neighbour() {
    Submit out;
    out.id = ++given_;
    live_.push_back(out.id);
    Request& r = out.request;
    // Some begin as the needle does, so that blocks are shared.
    const size_t shared = rng_.below(3) == 0 ? rng_.below(needle_.prompt.size()) : 0;
    r.prompt.assign(needle_.prompt.begin(),
                    needle_.prompt.begin() + static_cast<std::ptrdiff_t>(shared));
    for (uint64_t i = 0, n = 1 + rng_.below(150); i < n; ++i) {
      r.prompt.push_back(static_cast<int32_t>(rng_.below(static_cast<uint64_t>(vocab_))));
    }
    r.max_tokens = 1 + static_cast<int64_t>(rng_.below(60));
    r.sampling.temperature = rng_.below(2) == 0 ? 0 : 1.1;
    r.sampling.seed = rng_.next();
    r.top_logprobs = static_cast<int>(rng_.below(4));
    r.score = rng_.below(5) == 0;
    return out;
  }
  Answered* needle_of(RequestId id) {
    return id >= 1000000 ? &result.needles[static_cast<size_t>(id - 1000000)] : nullptr;
  }
  void ended(RequestId id) {
    if (id == waiting_needle_) waiting_needle_ = 0;
    live_.erase(std::remove(live_.begin(), live_.end(), id), live_.end());
  }

  const TrafficSpec& spec_;
  const Request& needle_;
  int64_t vocab_;
  Rng rng_;
  std::vector<RequestId> live_;
  int given_ = 0, needles_given_ = 0;
  RequestId waiting_needle_ = 0;
  bool asked_ = false;
};

inline Expected<TrafficResult> run_traffic(const TrafficSpec& spec, const Request& needle) {
  WS_ASSIGN(ModelConfig config, read_model_config(real_files(), spec.model));
  WS_ASSIGN(std::shared_ptr<const WeightSource> source,
            open_checkpoint_source(real_files(), spec.model));
  WS_ASSIGN(auto host, load_model_host(config, source, spec.compute, 2, nullptr));
  const Placement placement = make_placement(config, spec.ranks, spec.placement);
  EngineOptions options;
  options.join_rows = JoinRows::kAlways;
  WS_ASSIGN(options.kernels, choose_kernels("portable"));
  options.prefill_chunk = spec.chunk;
  options.max_sequences_per_rank = spec.max_sequences;
  options.kv_tokens_per_rank = spec.kv_tokens;
  Traffic traffic(spec, needle, config.vocab);
  WS_RETURN_IF_ERROR(run_loopback(spec.ranks, {}, [&](Group& group) -> Status {
    WS_ASSIGN(auto engine, Engine::create(group, host, placement, options, nullptr));
    RunSink silent;
    RunOptions run;
    run.audit_every = spec.audit_every;
    WS_ASSIGN(auto steps, engine->start(run, silent));
    for (;;) {
      WS_ASSIGN(const StepReport* report, steps->step(&traffic));
      if (group.rank() == 0) traffic.take(*report);
      if (report->last) return {};
    }
  }));
  return std::move(traffic.result);
}

}  // namespace wingspan::test
