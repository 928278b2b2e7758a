#include "engine/run_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace wingspan {

Expected<std::unique_ptr<RunLoop>> RunLoop::create(RankEngine& engine,
                                                   const std::vector<Request>& requests,
                                                   const RunOptions& options, RunSink& sink) {
  SchedulerLimits limits;
  limits.ranks = engine.group_.size();
  limits.max_sequences_per_rank = engine.options_.max_sequences_per_rank;
  limits.prefill_chunk = engine.options_.prefill_chunk;
  limits.max_rows_per_rank = engine.limits_.max_rows;
  limits.kv_blocks_per_rank = engine.limits_.kv_blocks;
  limits.kv_block = kKvBlock;
  limits.max_positions = engine.limits_.max_positions;
  Scheduler scheduler(limits);
  for (const Request& r : requests) {
    WS_RETURN_IF_ERROR(scheduler.add({static_cast<int64_t>(r.prompt.size()), r.max_tokens}));
  }
  std::unique_ptr<Channel> capture;
  if (options.capture.any()) {
    const size_t capacity =
        CaptureLog::capacity(engine.host_->config, options.capture, engine.limits_.max_rows);
    WS_ASSIGN(capture, engine.group_.open_channel(capacity, "capture"));
  }
  return std::unique_ptr<RunLoop>(
      new RunLoop(engine, requests, options, sink, std::move(scheduler), std::move(capture)));
}

RunLoop::RunLoop(RankEngine& engine, const std::vector<Request>& requests,
                 const RunOptions& options, RunSink& sink, Scheduler scheduler,
                 std::unique_ptr<Channel> capture_channel)
    : engine_(engine),
      requests_(requests),
      options_(options),
      sink_(sink),
      scheduler_(std::move(scheduler)),
      capture_channel_(std::move(capture_channel)),
      capture_(engine.host_->config, options.capture, engine.limits_.max_rows),
      loads_(engine.host_->config, engine.placement_.epoch, options.load_window_steps) {
  // Everything that a steady step appends to has its room now.
  const auto rows = static_cast<size_t>(engine.limits_.max_rows);
  tokens_.reserve(rows);
  sequences_.reserve(rows);
  origins_.reserve(rows);
  logit_rows_.reserve(rows);
  logit_origins_.reserve(rows);
  entries_.reserve(rows + static_cast<size_t>(engine.options_.max_sequences_per_rank));
  report_.results.resize(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto tokens = static_cast<size_t>(requests[i].max_tokens);
    report_.results[i].output_ids.reserve(tokens);
    report_.results[i].logprobs.reserve(tokens);
    if (requests[i].score) report_.results[i].prompt_logprobs.resize(requests[i].prompt.size() - 1);
    report_.prompt_tokens += static_cast<int64_t>(requests[i].prompt.size());
  }
}

Expected<RunReport> RunLoop::run() {
  while (!scheduler_.done()) WS_RETURN_IF_ERROR(step());
  WS_RETURN_IF_ERROR(loads_.finish(engine_.group_, engine_.load_.get()));
  report_.load = loads_.load();
  for (const RequestResult& r : report_.results) {
    report_.completion_tokens += static_cast<int64_t>(r.output_ids.size());
  }
  return std::move(report_);
}

bool RunLoop::wants_logits(const Request& request, int64_t position, bool emits) const {
  const bool scored = request.score && position + 1 < static_cast<int64_t>(request.prompt.size());
  const bool shown =
      options_.capture.prompt_logits && position < static_cast<int64_t>(request.prompt.size());
  return emits || scored || shown;
}

// This rank's part of the plan, as rows.
void RunLoop::gather_rows() {
  tokens_.clear();
  sequences_.clear();
  origins_.clear();
  logit_rows_.clear();
  logit_origins_.clear();
  for (const StepItem& item : plan_.ranks[static_cast<size_t>(engine_.group_.rank())]) {
    const Request& request = requests_[static_cast<size_t>(item.request)];
    const auto& output = report_.results[static_cast<size_t>(item.request)].output_ids;
    const auto prompt = static_cast<int64_t>(request.prompt.size());
    sequences_.push_back({scheduler_.block_table(item.request).data(), item.first_position,
                          static_cast<int64_t>(tokens_.size()), item.rows});
    for (int64_t i = 0; i < item.rows; ++i) {
      const int64_t position = item.first_position + i;
      const bool emits = item.emits && i + 1 == item.rows;
      if (wants_logits(request, position, emits)) {
        logit_rows_.push_back(static_cast<int64_t>(tokens_.size()));
        logit_origins_.push_back({item.request, position, emits});
      }
      tokens_.push_back(position < prompt ? request.prompt[static_cast<size_t>(position)]
                                          : output[static_cast<size_t>(position - prompt)]);
      origins_.push_back({item.request, position});
    }
  }
}

int64_t RunLoop::logit_rows(const StepItem& item) const {
  const Request& request = requests_[static_cast<size_t>(item.request)];
  int64_t rows = 0;
  for (int64_t i = 0; i < item.rows; ++i) {
    const bool emits = item.emits && i + 1 == item.rows;
    rows += wants_logits(request, item.first_position + i, emits) ? 1 : 0;
  }
  return rows;
}

// The same on every rank, since every rank has the whole plan.
int64_t RunLoop::head_rounds() const {
  int64_t most = 0;
  for (const auto& items : plan_.ranks) {
    int64_t rows = 0;
    for (const StepItem& item : items) rows += logit_rows(item);
    most = std::max(most, rows);
  }
  const int64_t round = head_rows(engine_.group_.size());
  return (most + round - 1) / round;
}

Status RunLoop::step() {
  const Clock& clock = system_clock();
  scheduler_.plan_step(plan_);
  gather_rows();
  entries_.clear();
  capture_.clear();
  bool prefill = false;
  rank_rows_.assign(plan_.ranks.size(), 0);
  for (size_t rank = 0; rank < plan_.ranks.size(); ++rank) {
    for (const StepItem& item : plan_.ranks[rank]) {
      rank_rows_[rank] += item.rows;
      const auto& request = requests_[static_cast<size_t>(item.request)];
      prefill |= item.first_position < static_cast<int64_t>(request.prompt.size());
    }
  }
  const ForwardTimes before = engine_.forward_.times();
  const int64_t start = clock.now_ns();
  const StepInput input{tokens_,   sequences_, logit_rows_, head_rounds(), engine_.group_.rank(),
                        rank_rows_};
  WS_RETURN_IF_ERROR(engine_.forward_.run(engine_.next_step_, input, *this));
  const int64_t computed = clock.now_ns();
  WS_RETURN_IF_ERROR(commit());
  account(before, computed - start, clock.now_ns() - computed, prefill);
  WS_RETURN_IF_ERROR(loads_.end_step(engine_.group_, engine_.load_.get(), engine_.next_step_,
                                     static_cast<int64_t>(tokens_.size())));
  ++engine_.next_step_;
  if (engine_.group_.rank() == 0) sink_.on_step(engine_.next_step_);
  return {};
}

Status RunLoop::on_logits(int64_t index, std::span<const float> logits,
                          const LogitSummary& summary) {
  const LogitRow row = logit_origins_[static_cast<size_t>(index)];
  const Request& request = requests_[static_cast<size_t>(row.request)];
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const Capture& capture = options_.capture;
  if (row.position < prompt && capture.prompt_logits) {
    capture_.logits(row.request, row.position, logits);
  } else if (row.emits && (capture.logits || capture.prompt_logits)) {
    capture_.logits(row.request, row.position, logits);
  }
  if (request.score && row.position + 1 < prompt) {
    const int32_t next = request.prompt[static_cast<size_t>(row.position) + 1];
    entries_.push_back({CommitEntry::kPromptLogprob, row.request, next,
                        log_probability(logits, summary.sum, next), 0,
                        static_cast<int32_t>(row.position + 1)});
  }
  if (!row.emits) return {};
  const SamplingParams& s = request.sampling;
  const int64_t position = row.position + 1;
  const int32_t token =
      engine_.sampler_.sample({s.temperature, s.top_k, s.top_p, s.seed}, logits, summary, position);
  FinishReason finish = FinishReason::kNone;
  const auto& stops = request.stop_ids;
  if (std::find(stops.begin(), stops.end(), token) != stops.end() ||
      sink_.should_stop(row.request, token)) {
    finish = FinishReason::kStop;
  } else if (position - prompt + 1 >= request.max_tokens) {
    finish = FinishReason::kLength;
  }
  entries_.push_back({CommitEntry::kToken, row.request, token,
                      log_probability(logits, summary.sum, token), static_cast<int32_t>(finish),
                      static_cast<int32_t>(position)});
  return {};
}

void RunLoop::on_layer(int layer, const float* hidden) {
  const auto width = static_cast<size_t>(engine_.host_->config.hidden);
  for (size_t r = 0; r < origins_.size(); ++r) {
    capture_.hidden(origins_[r].request, origins_[r].position, layer, {hidden + r * width, width});
  }
}

void RunLoop::on_routing(int moe_index, int64_t rows, const int32_t* experts, const float* weights,
                         const float* logits) {
  const int k = engine_.host_->config.moe.router.top_k;
  loads_.count(moe_index, rows, k, experts);
  const Capture& wanted = options_.capture;
  if (!wanted.routing && !wanted.router_logits) return;
  const int layer = engine_.placement_.layers[static_cast<size_t>(moe_index)].layer;
  const auto width = static_cast<size_t>(k);
  const auto all = static_cast<size_t>(engine_.host_->config.moe.router.experts);
  for (size_t r = 0; r < origins_.size(); ++r) {
    const auto [request, position] = origins_[r];
    if (wanted.routing) {
      capture_.routing(request, position, layer, {experts + r * width, width},
                       {weights + r * width, width});
    }
    if (wanted.router_logits) {
      capture_.router_logits(request, position, layer, {logits + r * all, all});
    }
  }
}

Status RunLoop::commit() {
  Group& group = engine_.group_;
  group.set_progress({engine_.next_step_, -1, "commit"});
  if (capture_channel_) {
    const auto replay = [&](int, std::span<const std::byte> bytes) {
      return CaptureLog::replay(bytes, sink_);
    };
    WS_RETURN_IF_ERROR(gather_to_first(*capture_channel_, group, capture_.bytes(), replay));
  }
  const auto mine = std::as_bytes(std::span<const CommitEntry>(entries_));
  WS_RETURN_IF_ERROR(
      all_gather(*engine_.commit_, group.size(), mine,
                 [&](int, std::span<const std::byte> bytes) { return apply(bytes); }));
  scheduler_.commit(plan_);
  return {};
}

// One rank's entries, in the order of its rows.
Status RunLoop::apply(std::span<const std::byte> bytes) {
  for (size_t at = 0; at + sizeof(CommitEntry) <= bytes.size(); at += sizeof(CommitEntry)) {
    CommitEntry entry;
    std::memcpy(&entry, bytes.data() + at, sizeof(entry));
    if (entry.request < 0 || entry.request >= static_cast<int32_t>(requests_.size())) {
      return failed(fmt::format("malformed commit: request {}", entry.request), "commit");
    }
    if (entry.kind == CommitEntry::kToken) {
      apply_token(entry);
      continue;
    }
    auto& logprobs = report_.results[static_cast<size_t>(entry.request)].prompt_logprobs;
    if (entry.position < 1 || entry.position > static_cast<int32_t>(logprobs.size())) {
      return failed(fmt::format("malformed commit: position {}", entry.position), "commit");
    }
    logprobs[static_cast<size_t>(entry.position) - 1] = entry.logprob;
  }
  return {};
}

void RunLoop::apply_token(const CommitEntry& entry) {
  RequestResult& result = report_.results[static_cast<size_t>(entry.request)];
  result.output_ids.push_back(entry.token);
  result.logprobs.push_back(entry.logprob);
  result.finish = static_cast<FinishReason>(entry.finish);
  const bool first = engine_.group_.rank() == 0;
  if (first) sink_.on_token(entry.request, entry.token, entry.logprob);
  if (result.finish == FinishReason::kNone) return;
  scheduler_.finish(entry.request);
  if (first) sink_.on_finish(entry.request, result.finish);
}

void RunLoop::account(const ForwardTimes& before, int64_t forward_ns, int64_t commit_ns,
                      bool prefill) {
  const ForwardTimes& now = engine_.forward_.times();
  StepTimes& t = prefill ? report_.prefill : report_.decode;
  ++t.steps;
  t.rows += static_cast<int64_t>(tokens_.size());
  t.attention_ns += now.attention_ns - before.attention_ns;
  t.router_ns += now.router_ns - before.router_ns;
  t.dispatch_ns += now.dispatch_ns - before.dispatch_ns;
  t.group_gemm_ns += now.group_gemm_ns - before.group_gemm_ns;
  t.combine_ns += now.combine_ns - before.combine_ns;
  t.shared_ns += now.shared_ns - before.shared_ns;
  t.head_ns += now.head_ns - before.head_ns;
  t.commit_ns += commit_ns;
  t.total_ns += forward_ns + commit_ns;
}

}  // namespace wingspan
