#include "sim/confirm.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "base/rng.h"

namespace wingspan {
namespace {

constexpr int kMeasured = 2000;        // requests, at least
constexpr double kManyLive = 8000;     // sequences beyond which a slice stands for the whole
constexpr double kDerate = 0.95;       // of the batch, per attempt
constexpr int kAttempts = 5;           // at one deployment
constexpr int kSimulations = 12;       // in all
constexpr double kContextStep = 0.02;  // contexts this close (in log) share a step time

// Step times by sequences and context, computed once each.
class StepTable {
 public:
  StepTable(const ServingModel& model, const Candidate& c) : model_(model), candidate_(c) {}
  double seconds(double sequences, double context) {
    const auto bucket = std::llround(std::log(std::max(1.0, context)) / kContextStep);
    const auto [at, fresh] = known_.try_emplace({std::llround(sequences), bucket}, 0);
    if (fresh) {
      const double batch = sequences / candidate_.decode.attention_tp;
      const double around = std::exp(static_cast<double>(bucket) * kContextStep);
      at->second = model_.step(candidate_.decode, batch, candidate_.aggregated, around).step_ms;
    }
    return at->second * 1e-3;
  }

 private:
  const ServingModel& model_;
  const Candidate& candidate_;
  std::map<std::pair<long long, long long>, double> known_;
};

SimDeployment deployment_of(const ServingModel& model, const SearchLimits& limits,
                            const Candidate& c, double share,
                            const std::shared_ptr<StepTable>& steps) {
  SimDeployment d;
  const double places = model.max_batch_per_gpu(c.decode, c.aggregated) * c.decode.attention_tp;
  d.decode.instances = c.decode_instances;
  d.decode.ranks = c.decode.attention_ranks();
  d.decode.max_sequences_per_rank = std::max(1, static_cast<int>(std::min(places * 2, 1e6)));
  d.decode.kv_tokens_per_rank = static_cast<int64_t>(places * (limits.isl + limits.osl)) + 64;
  d.decode.step_s = [steps](double sequences, double context) {
    return steps->seconds(sequences, context);
  };
  d.decode.accepted_per_step = c.accepted_per_step;
  const double computed = 1 - limits.cached_fraction;
  if (c.aggregated) {
    const PromptTime whole = model.prompt_time(c.decode);
    d.decode.prompt_time = {whole.own_s * computed, whole.spread_s * computed};
    d.decode.prefill_wait_steps = c.decode.prefill_wait_steps;
    return d;
  }
  const PrefillFigures f = model.prefill(c.prefill, c.decode);
  const double servers = c.prefill_instances * f.lanes * share;
  d.prefill.servers = std::max(1, static_cast<int>(std::lround(servers)));
  // A rounded number of servers works at the speed that keeps their load.
  const double token_s = f.lanes * computed / f.tokens_per_s * (d.prefill.servers / servers);
  d.prefill.service_s = [token_s](double tokens) { return token_s * tokens; };
  d.prefill.handoff_s = [handoff_s = f.handoff_ms * 1e-3 / limits.isl](double tokens) {
    return handoff_s * tokens;
  };
  return d;
}

double live_requests(const SearchLimits& limits, const Candidate& c) {
  return c.requests_per_s * (c.ttft_ms.mean + limits.osl * c.itl_ms.mean) * 1e-3;
}

// Decode instances to simulate: all, or so many of a large deployment that they stand for it.
int simulated_instances(const SearchLimits& limits, const Candidate& c) {
  const double share = kManyLive / live_requests(limits, c);
  return share >= 1 ? c.decode_instances
                    : std::max(1, static_cast<int>(c.decode_instances * share));
}

bool same_kind(const Candidate& a, const Candidate& b) {
  return a.aggregated == b.aggregated && a.decode.ep == b.decode.ep &&
         a.decode.attention_tp == b.decode.attention_tp;
}

// Requests that are somewhere in their output at time 0: what a deployment holds at any moment.
std::vector<SimRequest> half_done(const WorkloadOptions& w, int count) {
  Rng rng(w.seed, 3);
  std::vector<SimRequest> out;
  out.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    const auto made = static_cast<int64_t>(rng.uniform() * w.osl);
    const int64_t left = std::max<int64_t>(1, std::llround(w.osl) - made);
    out.push_back({0, std::llround(w.isl) + made, left});
  }
  return out;
}

// The larger of the measured figures over their limits; what does not keep up is beyond all.
double beyond_limits(const SearchLimits& limits, const Confirmation& c) {
  const double over = std::max(c.ttft_ms / limits.ttft_ms, c.itl_ms / limits.itl_ms);
  return c.result.cut_off || c.result.refused > 0 ? 1e6 + over : over;
}

class Decider {
 public:
  Decider(const ServingModel& model, const SearchLimits& limits,
          const std::vector<Candidate>& ranked, const ConfirmOptions& options)
      : model_(model), limits_(limits), options_(options) {
    for (const Candidate& c : ranked) waiting_.push_back({c, 0});
  }

  Decision run() {
    while (!waiting_.empty() && decision_.simulated < kSimulations && !decision_.runner_up) {
      const Entry entry = waiting_.front();
      waiting_.erase(waiting_.begin());
      if (decision_.recommended && same_kind(decision_.recommended->candidate, entry.candidate)) {
        continue;
      }
      ++decision_.simulated;
      const Confirmation confirmed = confirm_candidate(model_, limits_, entry.candidate, options_);
      if (confirmed.holds) {
        auto& place = decision_.recommended ? decision_.runner_up : decision_.recommended;
        place = Finalist{entry.candidate, confirmed};
        continue;
      }
      ++decision_.refused;
      const double beyond = beyond_limits(limits_, confirmed);
      if (!decision_.nearest || beyond < nearest_beyond_) {
        nearest_beyond_ = beyond;
        decision_.nearest = Finalist{entry.candidate, confirmed};
      }
      again(entry, confirmed);
    }
    return std::move(decision_);
  }

 private:
  struct Entry {
    Candidate candidate;
    int attempts = 0;
  };

  void again(const Entry& entry, const Confirmation& confirmed) {
    if (entry.attempts + 1 >= kAttempts) return;
    Candidate c = entry.candidate;
    int paid = c.gpus;
    if (limits_.rate_rps) {
      if (!c.aggregated && confirmed.ttft_ms > limits_.ttft_ms) {
        ++c.prefill_instances;
      } else {
        c.batch_per_gpu *= static_cast<double>(c.decode_instances) / (c.decode_instances + 1);
        ++c.decode_instances;
      }
      paid = c.decode_instances * c.decode.ep + c.prefill_instances * c.prefill.ep;
      if (paid > limits_.gpus) return;
      if (limits_.budget_usd_hour && paid * limits_.gpu_usd_hour > *limits_.budget_usd_hour) return;
    } else {
      c.batch_per_gpu *= kDerate;
    }
    c = evaluate_candidate(model_, limits_, c, paid);
    const auto at = std::find_if(waiting_.begin(), waiting_.end(), [&](const Entry& other) {
      return better(limits_, c, other.candidate);
    });
    waiting_.insert(at, {std::move(c), entry.attempts + 1});
  }

  const ServingModel& model_;
  const SearchLimits& limits_;
  const ConfirmOptions& options_;
  std::vector<Entry> waiting_;
  double nearest_beyond_ = 0;
  Decision decision_;
};

}  // namespace

Confirmation confirm_candidate(const ServingModel& model, const SearchLimits& limits,
                               const Candidate& candidate, const ConfirmOptions& options) {
  Candidate c = candidate;
  const double share =
      static_cast<double>(simulated_instances(limits, c)) / candidate.decode_instances;
  c.decode_instances = simulated_instances(limits, candidate);
  c.requests_per_s *= share;
  const double live = live_requests(limits, c);
  const auto running = static_cast<int>(c.batch_per_gpu * c.decode.ep * c.decode_instances);
  // Settle from the assumed steady state, measure, and keep the load up until all are done.
  const int settle = static_cast<int>(0.4 * live) + 200;
  const int measured = std::max(kMeasured, static_cast<int>(live / 4));
  WorkloadOptions w;
  w.arrivals = options.arrivals;
  w.rate_rps = c.requests_per_s;
  w.requests = settle + measured + static_cast<int>(1.3 * live) + 100;
  w.isl = limits.isl;
  w.osl = limits.osl;
  w.length_cv = options.length_cv;
  w.seed = options.seed;
  std::vector<SimRequest> requests = half_done(w, running);
  const std::vector<SimRequest> arriving = make_workload(w, options.trace);
  requests.insert(requests.end(), arriving.begin(), arriving.end());
  const auto steps = std::make_shared<StepTable>(model, c);
  const SimDeployment deployment = deployment_of(model, limits, c, share, steps);
  const int first = running + settle;
  Confirmation out;
  out.result = simulate(deployment, requests,
                        {.first_measured = first,
                         .last_measured = first + measured,
                         .running_at_start = running,
                         .seed = options.seed});
  const double p = limits.percentile / 100;
  out.requests = measured;
  out.ttft_ms = out.result.ttft_ms.quantile(p);
  out.itl_ms = out.result.itl_ms.quantile(p);
  out.holds = !out.result.cut_off && out.result.refused == 0 && out.ttft_ms <= limits.ttft_ms &&
              out.itl_ms <= limits.itl_ms;
  return out;
}

LimitKind broken_limit(const SearchLimits& limits, const Confirmation& c) {
  if (c.result.refused > 0) return LimitKind::kMemory;
  if (c.result.cut_off) return LimitKind::kRate;
  return c.itl_ms / limits.itl_ms > c.ttft_ms / limits.ttft_ms ? LimitKind::kItl : LimitKind::kTtft;
}

Decision decide_finalists(const ServingModel& model, const SearchLimits& limits,
                          const std::vector<Candidate>& ranked, const ConfirmOptions& options) {
  return Decider(model, limits, ranked, options).run();
}

}  // namespace wingspan
