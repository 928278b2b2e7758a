#include "serve/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>

namespace wingspan::serve {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

// vLLM's buckets, so that its dashboards read ours.
const Buckets kTtft = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                       1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
const Buckets kItl = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
                      0.4,   0.5,    0.75,  1,    2.5,   5,    7.5,   10,  20,   40,  80};
const Buckets kSpan = {0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1,   1.5, 2,   2.5, 5,    10,
                       15,   20,   30,  40,  50,  60,  120, 240, 480, 960, 1920, 7680};
const Buckets kTokens = {1,    2,    5,    10,    20,    50,    100,    200,   500,
                         1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000};
const Buckets kRows = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const Buckets kStep = {0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02,
                       0.05,   0.1,    0.2,   0.5,   1,     2,    5};

}  // namespace

struct Metrics::Impl {
  Impl(const std::string& model, const StepLimits& limits);

  prometheus::Gauge& gauge(const char* name, const char* help,
                           const prometheus::Labels& more = {}) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(with(more));
  }
  prometheus::Counter& counter(const char* name, const char* help,
                               const prometheus::Labels& more = {}) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(with(more));
  }
  prometheus::Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels,
                                                                                     buckets);
  }
  prometheus::Labels with(const prometheus::Labels& more) const {
    prometheus::Labels all = labels;
    all.insert(more.begin(), more.end());
    return all;
  }
  static void raise(prometheus::Counter& counter, double to) {
    if (to > counter.Value()) counter.Increment(to - counter.Value());
  }

  prometheus::Labels labels;
  prometheus::Registry registry;
  prometheus::Gauge &running, &waiting, &kv_usage;
  prometheus::Histogram &ttft, &itl, &e2e, &queue, &prefill, &decode, &inference, &prompt_sizes,
      &output_sizes, &iteration, &step;
  prometheus::Counter &prompt_tokens, &generation_tokens, &preemptions, &cache_queries, &cache_hits;
  prometheus::Counter &drafts, &draft_tokens, &accepted_tokens, &accepted_first;
  std::map<std::string, prometheus::Counter*> success;
  std::map<std::string, prometheus::Counter*> parts;  // seconds of a step's parts
  prometheus::Counter &steps, &rows, &moves, &moved_bytes, &audit_bits;
  prometheus::Gauge &epoch, &balancedness, &move_age, &gain_foreseen, &gain_gained, &step_age;
  std::vector<prometheus::Gauge*> rank_rows;
  std::function<void(const ChoiceRecord&)> keep;
};

Metrics::Impl::Impl(const std::string& model, const StepLimits& limits)
    : labels{{"model_name", model}, {"engine", "0"}},
      running(gauge("vllm:num_requests_running", "Requests that have rows in steps")),
      waiting(gauge("vllm:num_requests_waiting", "Requests that wait for a place")),
      kv_usage(gauge("vllm:kv_cache_usage_perc", "Share of the KV blocks in use, 0 to 1")),
      ttft(histogram("vllm:time_to_first_token_seconds", "From the request to its first token",
                     kTtft)),
      itl(histogram("vllm:inter_token_latency_seconds", "Between neighbouring tokens", kItl)),
      e2e(histogram("vllm:e2e_request_latency_seconds", "From the request to its end", kSpan)),
      queue(histogram("vllm:request_queue_time_seconds", "Until its first rows", kSpan)),
      prefill(
          histogram("vllm:request_prefill_time_seconds", "From first rows to first token", kSpan)),
      decode(histogram("vllm:request_decode_time_seconds", "From first to last token", kSpan)),
      inference(
          histogram("vllm:request_inference_time_seconds", "From first rows to the end", kSpan)),
      prompt_sizes(histogram("vllm:request_prompt_tokens", "Tokens of a prompt", kTokens)),
      output_sizes(histogram("vllm:request_generation_tokens", "Tokens of an answer", kTokens)),
      iteration(histogram("vllm:iteration_tokens_total", "Rows of a step of the group", kRows)),
      step(histogram("wingspan_step_seconds", "A step of the group", kStep)),
      prompt_tokens(counter("vllm:prompt_tokens_total", "Tokens of prompts that were computed")),
      generation_tokens(counter("vllm:generation_tokens_total", "Tokens of answers")),
      preemptions(counter("vllm:num_preemptions_total", "Sequences that gave up their KV blocks")),
      cache_queries(counter("vllm:prefix_cache_queries_total", "Tokens that were looked up")),
      cache_hits(counter("vllm:prefix_cache_hits_total", "Tokens that were found")),
      drafts(counter("vllm:spec_decode_num_drafts_total", "Drafts")),
      draft_tokens(counter("vllm:spec_decode_num_draft_tokens_total", "Tokens of drafts")),
      accepted_tokens(
          counter("vllm:spec_decode_num_accepted_tokens_total", "Tokens of drafts that were kept")),
      accepted_first(counter("vllm:spec_decode_num_accepted_tokens_per_pos_total",
                             "Tokens of drafts that were kept, by position", {{"position", "0"}})),
      steps(counter("wingspan_steps_total", "Steps that had rows")),
      rows(counter("wingspan_rows_total", "Rows of steps")),
      moves(counter("wingspan_moved_slots_total", "Slots that got another expert")),
      moved_bytes(counter("wingspan_moved_bytes_total", "Weights that were moved")),
      audit_bits(counter("wingspan_audit_differing_bits_total",
                         "Bits that differed when a step was computed twice")),
      epoch(gauge("wingspan_epoch", "Of the placement")),
      balancedness(
          gauge("wingspan_row_balancedness", "Mean rows of a rank over the most, last step")),
      move_age(gauge("wingspan_move_age_seconds", "Of the move on its way; 0: none")),
      gain_foreseen(gauge("wingspan_gain_foreseen", "Of the last plan, as balancedness")),
      gain_gained(gauge("wingspan_gain_gained", "Of the last plan, as balancedness")),
      step_age(gauge("wingspan_last_step_age_seconds", "Since the last step of all ranks")) {
  for (const char* reason : {"stop", "length", "abort", "error"}) {
    success[reason] = &counter("vllm:request_success_total", "Requests that ended",
                               {{"finished_reason", reason}});
  }
  for (const char* part :
       {"attention", "router", "dispatch", "group_gemm", "combine", "shared", "head", "commit"}) {
    parts[part] = &counter("wingspan_step_part_seconds_total", "Time of rank 0 by part of a step",
                           {{"part", part}});
  }
  for (int rank = 0; rank < limits.ranks; ++rank) {
    rank_rows.push_back(&gauge("wingspan_rank_rows", "Rows of a rank in the last step",
                               {{"rank", std::to_string(rank)}}));
  }
  gauge("vllm:cache_config_info", "Sizes of the KV cache",
        {{"block_size", std::to_string(limits.kv_block)},
         {"num_gpu_blocks", std::to_string(limits.kv_blocks_per_rank * limits.ranks)}})
      .Set(1);
}

Metrics::Metrics(const std::string& model_name, const StepLimits& limits)
    : impl_(std::make_unique<Impl>(model_name, limits)) {}
Metrics::~Metrics() = default;

void Metrics::on_report(const StepReport& r) {
  Impl& m = *impl_;
  m.running.Set(static_cast<double>(r.running));
  m.waiting.Set(static_cast<double>(r.waiting));
  if (r.kv_blocks > 0) {
    m.kv_usage.Set(static_cast<double>(r.kv_blocks_used) / static_cast<double>(r.kv_blocks));
  }
  Impl::raise(m.preemptions, static_cast<double>(r.preemptions));
  Impl::raise(m.cache_queries, static_cast<double>(r.cache_queries));
  Impl::raise(m.cache_hits, static_cast<double>(r.cache_hits));
  m.epoch.Set(static_cast<double>(r.epoch));
  const auto all = static_cast<double>(r.prompt_rows + r.decode_rows);
  if (all == 0) return;
  m.steps.Increment();
  m.rows.Increment(all);
  m.iteration.Observe(all);
  m.prompt_tokens.Increment(static_cast<double>(r.prompt_rows));
  m.step.Observe(static_cast<double>(r.times.total_ns) * 1e-9);
  const std::pair<const char*, int64_t> parts[] = {
      {"attention", r.times.attention_ns}, {"router", r.times.router_ns},
      {"dispatch", r.times.dispatch_ns},   {"group_gemm", r.times.group_gemm_ns},
      {"combine", r.times.combine_ns},     {"shared", r.times.shared_ns},
      {"head", r.times.head_ns},           {"commit", r.times.commit_ns}};
  for (const auto& [name, ns] : parts) {
    m.parts[name]->Increment(static_cast<double>(std::max<int64_t>(0, ns)) * 1e-9);
  }
  int64_t most = 0;
  for (size_t rank = 0; rank < m.rank_rows.size() && rank < r.rank_rows.size(); ++rank) {
    m.rank_rows[rank]->Set(static_cast<double>(r.rank_rows[rank]));
    most = std::max(most, r.rank_rows[rank]);
  }
  m.balancedness.Set(all / static_cast<double>(m.rank_rows.size()) / static_cast<double>(most));
}

void Metrics::on_first_token(double ttft_s, double /*queued_s*/) {
  impl_->ttft.Observe(ttft_s);
  impl_->generation_tokens.Increment();
}

void Metrics::on_next_token(double itl_s) {
  impl_->itl.Observe(itl_s);
  impl_->generation_tokens.Increment();
}

void Metrics::on_done(const Done& done) {
  Impl& m = *impl_;
  const auto found = m.success.find(done.finish);
  if (found != m.success.end()) found->second->Increment();
  m.e2e.Observe(done.e2e_s);
  m.queue.Observe(done.queued_s);
  m.prefill.Observe(done.prefill_s);
  m.decode.Observe(done.decode_s);
  m.inference.Observe(done.prefill_s + done.decode_s);
  m.prompt_sizes.Observe(static_cast<double>(done.prompt_tokens));
  m.output_sizes.Observe(static_cast<double>(done.output_tokens));
}

void Metrics::on_record(const ChoiceRecord& record) {
  if (impl_->keep) impl_->keep(record);
}

void Metrics::keep_records(std::function<void(const ChoiceRecord&)> keep) {
  impl_->keep = std::move(keep);
}

std::string Metrics::text(const EnginePort::Snapshot& now, int64_t now_ns) const {
  Impl& m = *impl_;
  m.step_age.Set(now.last_step_ns > 0 ? static_cast<double>(now_ns - now.last_step_ns) * 1e-9 : 0);
  return prometheus::TextSerializer().Serialize(m.registry.Collect());
}

}  // namespace wingspan::serve
