// A set of requests that is known from the start, driven through steps until all have ended.
#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "engine/engine.h"

namespace wingspan {
namespace {

// On rank 0: orders all requests at once, then the ends that the sink asks for, then the stop.
class BatchOrders final : public OrderSource {
 public:
  explicit BatchOrders(const std::vector<Request>& requests) : requests_(requests) {}
  void next(Orders& orders, bool idle) override {
    if (!ordered_) {
      ordered_ = true;
      for (size_t i = 0; i < requests_.size(); ++i) {
        orders.add.push_back({static_cast<RequestId>(i), requests_[i]});
      }
      orders.stop = requests_.empty();
      return;
    }
    orders.stop = idle;
    std::swap(orders.cancel, to_cancel_);
  }
  void cancel(RequestId id) { to_cancel_.push_back(id); }

 private:
  const std::vector<Request>& requests_;
  std::vector<RequestId> to_cancel_;
  bool ordered_ = false;
};

// What the reports of all steps add up to.
class BatchResults {
 public:
  BatchResults(const std::vector<Request>& requests, RunSink* sink, BatchOrders& orders)
      : sink_(sink), orders_(orders) {
    report_.results.resize(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      RequestResult& r = report_.results[i];
      r.output_ids.reserve(static_cast<size_t>(requests[i].max_tokens));
      r.logprobs.reserve(static_cast<size_t>(requests[i].max_tokens));
      if (requests[i].score) r.prompt_logprobs.resize(requests[i].prompt.size() - 1);
      report_.prompt_tokens += static_cast<int64_t>(requests[i].prompt.size());
    }
  }

  Status add(const StepReport& step) {
    for (const TokenEvent& event : step.tokens) add(event);
    for (const EndEvent& event : step.ended) {
      RequestResult& r = result(event.id);
      if (r.finish != FinishReason::kNone) continue;
      if (event.reason == FinishReason::kNotFinite) {
        return failed(fmt::format("prompt {}, {}", event.id, event.what), "",
                      "try --compute f32, or check the checkpoint");
      }
      // A cancelled one was ended by the sink; other ranks than 0 learn of it here.
      const bool stopped = event.reason == FinishReason::kCancelled;
      finish(event.id, stopped ? FinishReason::kStop : event.reason);
    }
    StepTimes& t = step.prompt_rows > 0 ? report_.prefill : report_.decode;
    for (auto part : {&StepTimes::steps, &StepTimes::rows, &StepTimes::attention_ns,
                      &StepTimes::router_ns, &StepTimes::dispatch_ns, &StepTimes::group_gemm_ns,
                      &StepTimes::combine_ns, &StepTimes::shared_ns, &StepTimes::head_ns,
                      &StepTimes::commit_ns, &StepTimes::total_ns}) {
      t.*part += step.times.*part;
    }
    return {};
  }

  RunReport take(const Load& load) {
    report_.load = load;
    for (const RequestResult& r : report_.results) {
      report_.completion_tokens += static_cast<int64_t>(r.output_ids.size());
    }
    return std::move(report_);
  }

 private:
  RequestResult& result(RequestId id) { return report_.results[static_cast<size_t>(id)]; }

  void add(const TokenEvent& event) {
    RequestResult& r = result(event.id);
    if (event.prompt) {
      r.prompt_logprobs[static_cast<size_t>(event.position) - 1] = event.logprob;
      return;
    }
    if (r.finish != FinishReason::kNone) return;
    r.output_ids.push_back(event.token);
    r.logprobs.push_back(event.logprob);
    r.logits_hash = hash_mix(r.logits_hash, event.logits_hash);
    const int request = static_cast<int>(event.id);
    if (sink_ != nullptr) sink_->on_token(request, event.token, event.logprob);
    if (event.finish != FinishReason::kNone) {
      // A stop text that ends with the last token counts as a stop.
      const bool stops = sink_ != nullptr && sink_->should_stop(request, event.token);
      finish(event.id, stops ? FinishReason::kStop : event.finish);
    } else if (sink_ != nullptr && sink_->should_stop(request, event.token)) {
      finish(event.id, FinishReason::kStop);
      orders_.cancel(event.id);
    }
  }

  void finish(RequestId id, FinishReason reason) {
    result(id).finish = reason;
    if (sink_ != nullptr) sink_->on_finish(static_cast<int>(id), reason);
  }

  RunSink* sink_;  // on rank 0 only
  BatchOrders& orders_;
  RunReport report_;
};

}  // namespace

Expected<RunReport> Engine::run(const std::vector<Request>& requests, const RunOptions& options,
                                RunSink& sink) {
  for (const Request& r : requests) {
    Status status = check_request(config(), r);
    if (status) {
      status = check_fits(limits(), static_cast<int64_t>(r.prompt.size()), r.max_tokens);
    }
    if (!status) return Unexpected(status.error());
  }
  WS_ASSIGN(auto steps, start(options, sink));
  BatchOrders orders(requests);
  BatchResults results(requests, group().rank() == 0 ? &sink : nullptr, orders);
  for (;;) {
    WS_ASSIGN(const StepReport* report, steps->step(&orders));
    if (Status status = results.add(*report); !status) {
      group().abort(status.error());
      return Unexpected(status.error());
    }
    if (report->last) break;
  }
  return results.take(steps->load());
}

}  // namespace wingspan
