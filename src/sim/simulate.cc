#include "sim/simulate.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>

#include "base/check.h"
#include "sim/decode_instance.h"
#include "sim/event_queue.h"

namespace wingspan {
namespace {

int64_t to_ns(double seconds) {
  WS_CHECK(seconds >= 0 && seconds < 1e9, "{} s", seconds);
  return std::llround(seconds * 1e9);
}

class Simulation {
 public:
  Simulation(const SimDeployment& deployment, const std::vector<SimRequest>& requests,
             const SimOptions& options);
  SimResult run();

 private:
  struct Times {
    int64_t prefill_ns = -1, first_token_ns = -1, done_ns = -1;
  };
  int64_t measured_from() const {
    return requests_[static_cast<size_t>(options_.first_measured)].arrival_ns;
  }
  bool aggregated() const { return deployment_.prefill.servers == 0; }
  void handle(const SimEvent& event);
  void start_prefills();
  void give_to_decode(int request);
  void begin_step(int instance);
  void end_step(int instance);
  void count_time();
  void settle(int request);
  SimResult result() const;

  const SimDeployment& deployment_;
  const std::vector<SimRequest>& requests_;
  const SimOptions& options_;
  EventQueue events_;
  std::vector<std::unique_ptr<DecodeInstance>> decode_;
  std::deque<int> prefill_queue_;
  std::vector<Times> times_;
  int busy_servers_ = 0, unsettled_ = 0;
  int64_t steps_ = 0, counted_to_ns_ = 0;
  double server_ns_ = 0, sequence_ns_ = 0;  // integrals over time
  int refused_ = 0;
};

Simulation::Simulation(const SimDeployment& deployment, const std::vector<SimRequest>& requests,
                       const SimOptions& options)
    : deployment_(deployment), requests_(requests), options_(options), times_(requests.size()) {
  WS_CHECK(options.first_measured >= 0 && options.first_measured < options.last_measured &&
               options.last_measured <= static_cast<int>(requests.size()),
           "requests {} to {} of {}", options.first_measured, options.last_measured,
           requests.size());
  for (int i = 0; i < deployment.decode.instances; ++i) {
    decode_.push_back(std::make_unique<DecodeInstance>(deployment.decode, options.seed,
                                                       static_cast<uint64_t>(i)));
  }
  counted_to_ns_ = measured_from();
  unsettled_ = options.last_measured - options.first_measured;
}

void Simulation::count_time() {
  const auto passed = static_cast<double>(std::max<int64_t>(0, events_.now_ns() - counted_to_ns_));
  counted_to_ns_ = std::max(counted_to_ns_, events_.now_ns());
  server_ns_ += passed * busy_servers_;
  int running = 0;
  for (const auto& instance : decode_) running += instance->running();
  sequence_ns_ += passed * running;
}

void Simulation::settle(int request) {
  if (request >= options_.first_measured && request < options_.last_measured) --unsettled_;
}

void Simulation::start_prefills() {
  while (!prefill_queue_.empty() && busy_servers_ < deployment_.prefill.servers) {
    const int request = prefill_queue_.front();
    prefill_queue_.pop_front();
    ++busy_servers_;
    times_[static_cast<size_t>(request)].prefill_ns = events_.now_ns();
    const auto tokens = static_cast<double>(requests_[static_cast<size_t>(request)].prompt_tokens);
    events_.add(events_.now_ns() + to_ns(deployment_.prefill.service_s(tokens)),
                SimEventKind::kPrefillEnd, request);
  }
}

// To the instance with the fewest live sequences, the lowest such.
void Simulation::give_to_decode(int request) {
  const auto least =
      std::min_element(decode_.begin(), decode_.end(),
                       [](const auto& a, const auto& b) { return a->live() < b->live(); });
  if (!(*least)->add(request, requests_[static_cast<size_t>(request)],
                     !aggregated() || request < options_.running_at_start)) {
    ++refused_;
    settle(request);
    return;
  }
  if (!(*least)->stepping()) begin_step(static_cast<int>(least - decode_.begin()));
}

void Simulation::begin_step(int instance) {
  const double seconds = decode_[static_cast<size_t>(instance)]->begin_step();
  if (seconds < 0) return;
  ++steps_;
  events_.add(events_.now_ns() + to_ns(seconds), SimEventKind::kStepEnd, instance);
}

void Simulation::end_step(int instance) {
  const auto& finished = decode_[static_cast<size_t>(instance)]->end_step();
  for (const int request : finished.first_tokens) {
    times_[static_cast<size_t>(request)].first_token_ns = events_.now_ns();
  }
  for (const int request : finished.done) {
    times_[static_cast<size_t>(request)].done_ns = events_.now_ns();
    settle(request);
  }
  begin_step(instance);
}

void Simulation::handle(const SimEvent& event) {
  count_time();
  switch (event.kind) {
    case SimEventKind::kArrival: {
      const auto next = static_cast<size_t>(event.who) + 1;
      if (next < requests_.size()) {
        events_.add(std::max(events_.now_ns(), requests_[next].arrival_ns), SimEventKind::kArrival,
                    event.who + 1);
      }
      if (aggregated() || event.who < options_.running_at_start) {
        give_to_decode(event.who);
      } else {
        prefill_queue_.push_back(event.who);
        start_prefills();
      }
      break;
    }
    case SimEventKind::kPrefillEnd: {
      --busy_servers_;
      start_prefills();
      const SimRequest& r = requests_[static_cast<size_t>(event.who)];
      const double seconds = deployment_.prefill.handoff_s(static_cast<double>(r.prompt_tokens));
      events_.add(events_.now_ns() + to_ns(seconds), SimEventKind::kHandoffEnd, event.who);
      break;
    }
    case SimEventKind::kHandoffEnd:
      give_to_decode(event.who);
      break;
    case SimEventKind::kStepEnd:
      end_step(event.who);
      break;
  }
}

SimResult Simulation::run() {
  if (!requests_.empty()) events_.add(requests_[0].arrival_ns, SimEventKind::kArrival, 0);
  while (unsettled_ > 0 && !events_.empty() && steps_ < options_.max_steps) handle(events_.next());
  return result();
}

SimResult Simulation::result() const {
  SimResult r;
  std::vector<double> ttft, itl, queue;
  double tokens = 0;
  for (int i = options_.first_measured; i < options_.last_measured; ++i) {
    const SimRequest& request = requests_[static_cast<size_t>(i)];
    const Times& t = times_[static_cast<size_t>(i)];
    if (t.prefill_ns >= 0) {
      queue.push_back(static_cast<double>(t.prefill_ns - request.arrival_ns) * 1e-6);
    }
    if (t.first_token_ns >= 0) {
      ttft.push_back(static_cast<double>(t.first_token_ns - request.arrival_ns) * 1e-6);
    }
    if (t.done_ns < 0) continue;
    tokens += static_cast<double>(request.output_tokens);
    if (request.output_tokens < 2) continue;
    itl.push_back(static_cast<double>(t.done_ns - t.first_token_ns) * 1e-6 /
                  static_cast<double>(request.output_tokens - 1));
  }
  const int64_t from = measured_from();
  const int64_t to = requests_[static_cast<size_t>(options_.last_measured) - 1].arrival_ns;
  r.ttft_ms = Distribution(std::move(ttft));
  r.queue_ms = Distribution(std::move(queue));
  r.itl_ms = Distribution(std::move(itl));
  if (to > from) r.output_tokens_per_s = tokens / (static_cast<double>(to - from) * 1e-9);
  const auto passed = static_cast<double>(events_.now_ns() - from);
  if (passed > 0) {
    r.mean_sequences_per_rank =
        sequence_ns_ / passed / (deployment_.decode.instances * deployment_.decode.ranks);
    r.prefill_utilisation = server_ns_ / passed / std::max(1, deployment_.prefill.servers);
  }
  r.steps = steps_;
  r.refused = refused_;
  r.cut_off = unsettled_ > 0;
  return r;
}

}  // namespace

SimResult simulate(const SimDeployment& deployment, const std::vector<SimRequest>& requests,
                   const SimOptions& options) {
  return Simulation(deployment, requests, options).run();
}

}  // namespace wingspan
