#include "engine/step_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/fpmode.h"

namespace wingspan {
namespace {

SchedulerLimits scheduler_limits(const StepLimits& limits, int64_t chunk, int64_t max_rows) {
  SchedulerLimits out;
  out.ranks = limits.ranks;
  out.max_sequences_per_rank = limits.max_sequences_per_rank;
  out.prefill_chunk = chunk;
  out.max_rows_per_rank = max_rows;
  out.kv_blocks_per_rank = limits.kv_blocks_per_rank;
  out.kv_block = static_cast<int>(limits.kv_block);
  out.max_positions = limits.max_positions;
  return out;
}

}  // namespace

Expected<std::unique_ptr<StepLoop>> StepLoop::create(RankEngine& engine, const RunOptions& options,
                                                     RunSink& sink) {
  Channel* capture = nullptr;
  if (options.capture.any()) {
    const size_t capacity =
        CaptureLog::capacity(engine.host_->config, options.capture, engine.limits_.max_rows);
    auto& channel = engine.channels_.capture[capacity];
    if (channel == nullptr) {
      WS_ASSIGN(channel, engine.group_.open_channel(capacity, "capture"));
    }
    capture = channel.get();
  }
  return std::unique_ptr<StepLoop>(new StepLoop(engine, options, sink, capture));
}

StepLoop::StepLoop(RankEngine& engine, const RunOptions& options, RunSink& sink,
                   Channel* capture_channel)
    : engine_(engine),
      options_(options),
      sink_(sink),
      capture_channel_(capture_channel),
      scheduler_(scheduler_limits(engine.step_limits_, engine.options_.prefill_chunk,
                                  engine.limits_.max_rows)),
      capture_(engine.host_->config, options.capture, engine.limits_.max_rows),
      loads_(engine.host_->config, engine.placement_.epoch, options.load_window_steps) {
  // Everything that a steady step appends to has its room now.
  const auto rows = static_cast<size_t>(engine.limits_.max_rows);
  const auto ranks = static_cast<size_t>(engine.group_.size());
  tokens_.reserve(rows);
  sequences_.reserve(rows);
  origins_.reserve(rows);
  logit_rows_.reserve(rows);
  logit_origins_.reserve(rows);
  for (Outcome* outcome : {&outcome_, &first_outcome_}) {
    outcome->entries.reserve(2 * rows);
    outcome->tops.resize(2 * rows);
  }
  message_.reserve(sizeof(CommitHeader) + 2 * rows * sizeof(CommitEntry) + kOrderBytes);
  report_.tokens.reserve(rows * ranks);
  report_.rank_rows.resize(ranks);
  received_tops_.resize(ranks);
}

Expected<const StepReport*> StepLoop::step(OrderSource* source) {
  const FlushSubnormals mode;
  WS_CHECK(!ended_, "a step after the last one");
  if (Status status = run_step(source); !status) {
    engine_.group_.abort(status.error());
    return Unexpected(status.error());
  }
  return &report_;
}

Status StepLoop::run_step(OrderSource* source) {
  const Clock& clock = system_clock();
  report_.tokens.clear();
  report_.ended.clear();
  report_.started.clear();
  report_.preempted.clear();
  report_.times = {};
  apply_orders();
  if (report_.last) return last_step();
  plan_ = &scheduler_.plan_step();
  gather_rows();
  const bool computes = plan_->rows() > 0;
  const ForwardTimes before = engine_.forward_.times();
  const int64_t start = clock.now_ns();
  if (computes) WS_RETURN_IF_ERROR(audit());
  const int64_t computed = clock.now_ns();
  WS_RETURN_IF_ERROR(commit(source));
  ++engine_.next_round_;
  if (computes) {
    account(before, computed - start, clock.now_ns() - computed);
    if (engine_.channels_.load != nullptr) {
      WS_RETURN_IF_ERROR(loads_.end_step(engine_.group_, engine_.channels_.load.get(), computed_,
                                         static_cast<int64_t>(tokens_.size())));
    }
    ++computed_;
    ++engine_.next_step_;
    if (engine_.group_.rank() == 0) sink_.on_step(computed_);
  }
  complete_report();
  return {};
}

// Every rank has the same orders and applies them at the same point.
void StepLoop::apply_orders() {
  for (Submit& submit : orders_.add) add(std::move(submit));
  for (const RequestId id : orders_.cancel) cancel(id, "");
  if (orders_.prompt_rows >= 0) scheduler_.limit_prompt_rows(orders_.prompt_rows);
  report_.last = orders_.stop;
  orders_ = {};
}

void StepLoop::add(Submit&& submit) {
  Request& r = submit.request;
  SchedulerRequest wanted;
  wanted.id = submit.id;
  wanted.prompt = r.prompt;
  wanted.prompt_tokens = static_cast<int64_t>(r.prompt.size());
  wanted.max_new_tokens = r.max_tokens;
  wanted.priority = r.priority;
  // Rows from the cache show nothing.
  wanted.reads_all = r.score || capture_channel_ != nullptr || !engine_.options_.prefix_cache;
  // The door has checked it; what slips through ends alike on every rank.
  if (const Status status = scheduler_.add(wanted); !status) {
    report_.ended.push_back({submit.id, FinishReason::kCancelled, status.error().message()});
    return;
  }
  requests_.resize(static_cast<size_t>(scheduler_.slots()));
  r.prompt.clear();
  request(scheduler_.slot_of(submit.id)) = std::move(r);
}

void StepLoop::cancel(RequestId id, std::string what) {
  if (scheduler_.cancel(id)) {
    report_.ended.push_back({id, FinishReason::kCancelled, std::move(what)});
  }
}

Status StepLoop::last_step() {
  ended_ = true;
  if (engine_.channels_.load == nullptr) return {};
  return loads_.finish(engine_.group_, engine_.channels_.load.get());
}

bool StepLoop::wants_logits(int slot, int64_t position, bool emits) const {
  const int64_t prompt = scheduler_.prompt_tokens(slot);
  const bool scored = request(slot).score && position + 1 < prompt;
  return emits || scored || (options_.capture.prompt_logits && position < prompt);
}

// This rank's part of the plan, as rows.
void StepLoop::gather_rows() {
  tokens_.clear();
  sequences_.clear();
  origins_.clear();
  logit_rows_.clear();
  logit_origins_.clear();
  for (const StepItem& item : plan_->ranks[static_cast<size_t>(engine_.group_.rank())]) {
    const auto known = scheduler_.tokens(item.slot);
    sequences_.push_back({scheduler_.block_table(item.slot).data(), item.first_position,
                          static_cast<int64_t>(tokens_.size()), item.rows});
    for (int64_t i = 0; i < item.rows; ++i) {
      const int64_t position = item.first_position + i;
      const bool emits = item.emits && i + 1 == item.rows;
      if (wants_logits(item.slot, position, emits)) {
        logit_rows_.push_back(static_cast<int64_t>(tokens_.size()));
        logit_origins_.push_back({item.slot, position, emits});
      }
      tokens_.push_back(known[static_cast<size_t>(position)]);
      origins_.push_back({item.id, position});
    }
  }
  wants_tops_ = false;
  for (size_t rank = 0; rank < plan_->ranks.size(); ++rank) {
    int64_t rows = 0;
    for (const StepItem& item : plan_->ranks[rank]) {
      rows += item.rows;
      wants_tops_ |= request(item.slot).top_logprobs > 0;
    }
    report_.rank_rows[rank] = rows;
  }
}

int64_t StepLoop::logit_rows(const StepItem& item) const {
  int64_t rows = 0;
  for (int64_t i = 0; i < item.rows; ++i) {
    const bool emits = item.emits && i + 1 == item.rows;
    rows += wants_logits(item.slot, item.first_position + i, emits) ? 1 : 0;
  }
  return rows;
}

// The same on every rank, since every rank has the whole plan.
int64_t StepLoop::head_rounds() const {
  int64_t most = 0;
  for (const auto& items : plan_->ranks) {
    int64_t rows = 0;
    for (const StepItem& item : items) rows += logit_rows(item);
    most = std::max(most, rows);
  }
  const int64_t round = head_rows(engine_.group_.size());
  return (most + round - 1) / round;
}

Status StepLoop::compute() {
  outcome_.clear();
  capture_.clear();
  loads_.begin_step();
  const StepInput input{
      tokens_, sequences_, logit_rows_, head_rounds(), engine_.group_.rank(), report_.rank_rows};
  const int64_t step = engine_.next_step_;
  WS_RETURN_IF_ERROR(engine_.forward_.run(step, input, *this));
  report_faults();
  const int64_t rounds = engine_.forward_.head_rounds(input);
  for (int64_t round = 0; round < rounds; ++round) {
    WS_ASSIGN(const HeadRows head, engine_.forward_.head(step, input, round));
    WS_RETURN_IF_ERROR(sample_round(head));
  }
  return {};
}

// Computes the step; where an audit is due, twice, and compares.
Status StepLoop::audit() {
  const bool due = options_.audit_every > 0 && computed_ % options_.audit_every == 0;
  if (!due) return compute();
  WS_RETURN_IF_ERROR(compute());
  std::swap(outcome_, first_outcome_);
  const std::vector<std::byte> shown(capture_.bytes().begin(), capture_.bytes().end());
  const std::vector<int64_t> counts(loads_.step_counts().begin(), loads_.step_counts().end());
  WS_RETURN_IF_ERROR(compute());
  const auto bytes = [](const auto& values) { return std::as_bytes(std::span(values)); };
  const auto same = [](std::span<const std::byte> a, std::span<const std::byte> b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  };
  const bool equal = same(bytes(outcome_.entries), bytes(first_outcome_.entries)) &&
                     same(shown, capture_.bytes()) &&
                     std::equal(counts.begin(), counts.end(), loads_.step_counts().begin());
  if (equal) return {};
  return failed(fmt::format("rank {} computed step {} twice with different results",
                            engine_.group_.rank(), engine_.next_step_),
                "audit", "the machine or this build is faulty: run wingspan verify");
}

// A row that is not finite ends its request. Its entry comes before those of tokens.
void StepLoop::report_faults() {
  const auto faults = engine_.forward_.faults();
  for (size_t r = 0; r < faults.size(); ++r) {
    if (faults[r].tensor == Tensor::kNone) continue;
    CommitEntry entry;
    entry.kind = CommitEntry::kNotFinite;
    entry.slot = scheduler_.slot_of(origins_[r].id);
    entry.token = static_cast<int32_t>(faults[r].tensor);
    entry.finish = faults[r].layer;
    entry.position = static_cast<int32_t>(origins_[r].position);
    outcome_.entries.push_back(entry);
  }
}

// Rows side by side, each on one thread.
Status StepLoop::sample_round(const HeadRows& head) {
  const size_t first = outcome_.entries.size();
  outcome_.entries.resize(first + static_cast<size_t>(head.rows));
  run_ranges(engine_.ops_.pool(), head.rows, 1, [&](int64_t part, int64_t begin, int64_t end) {
    Sampler& sampler = engine_.samplers_[static_cast<size_t>(part)];
    for (int64_t i = begin; i < end; ++i) {
      const LogitRow& row = logit_origins_[static_cast<size_t>(head.first + i)];
      const LogitSummary& summary = head.summaries[static_cast<size_t>(i)];
      CommitEntry& entry = outcome_.entries[first + static_cast<size_t>(i)];
      entry = sample(row, head.row(i), summary, sampler);
      find_tops(row, entry, head.row(i), summary, outcome_.tops[first + static_cast<size_t>(i)]);
    }
  });
  const Capture& wanted = options_.capture;
  if (!wanted.logits && !wanted.prompt_logits) return {};
  for (int64_t i = 0; i < head.rows; ++i) {
    const LogitRow& row = logit_origins_[static_cast<size_t>(head.first + i)];
    const bool prompt = row.position < scheduler_.prompt_tokens(row.slot);
    if (row.emits || (prompt && wanted.prompt_logits)) {
      const auto id = scheduler_.id_of(row.slot);
      capture_.logits(static_cast<int>(id), row.position, head.row(i));
    }
  }
  return {};
}

// A function of the request's own tokens, parameters and position, and of its logits.
CommitEntry StepLoop::sample(const LogitRow& row, std::span<const float> logits,
                             const LogitSummary& summary, Sampler& sampler) const {
  const Request& r = request(row.slot);
  const auto known = scheduler_.tokens(row.slot);
  const int64_t prompt = scheduler_.prompt_tokens(row.slot), position = row.position + 1;
  CommitEntry entry;
  entry.slot = row.slot;
  entry.position = static_cast<int32_t>(position);
  if (!summary.finite) {
    entry.kind = CommitEntry::kNotFinite;
    entry.token = static_cast<int32_t>(Tensor::kLogits);
    entry.finish = -1;
    entry.position = static_cast<int32_t>(row.position);
    return entry;
  }
  if (r.hash_logits) entry.hash = hash_logits(logits);
  if (!row.emits) {
    if (!r.score || position >= prompt) return entry;
    entry.kind = CommitEntry::kPromptToken;
    entry.token = known[static_cast<size_t>(position)];
    entry.logprob = log_probability(logits, summary.sum, entry.token);
    return entry;
  }
  const SamplingParams& p = r.sampling;
  const auto output = known.subspan(static_cast<size_t>(prompt));
  const auto made = static_cast<int64_t>(output.size());
  SamplingRule rule;
  rule.temperature = p.temperature;
  rule.top_k = p.top_k;
  rule.top_p = p.top_p;
  rule.min_p = p.min_p;
  rule.presence_penalty = p.presence_penalty;
  rule.frequency_penalty = p.frequency_penalty;
  rule.repetition_penalty = p.repetition_penalty;
  rule.logit_bias = p.logit_bias;
  if (made < p.min_tokens) rule.forbidden = r.stop_ids;
  rule.seed = p.seed;
  entry.kind = CommitEntry::kToken;
  entry.token = sampler.sample(rule, {known.first(static_cast<size_t>(prompt)), output}, logits,
                               summary, position);
  entry.logprob = log_probability(logits, summary.sum, entry.token);
  FinishReason finish = FinishReason::kNone;
  if (std::find(r.stop_ids.begin(), r.stop_ids.end(), entry.token) != r.stop_ids.end()) {
    finish = FinishReason::kStop;
  } else if (made + 1 >= r.max_tokens) {
    finish = FinishReason::kLength;
  }
  entry.finish = static_cast<int32_t>(finish);
  return entry;
}

void StepLoop::find_tops(const LogitRow& row, const CommitEntry& entry,
                         std::span<const float> logits, const LogitSummary& summary,
                         std::vector<TopLogprob>& out) const {
  out.clear();
  const int wanted = request(row.slot).top_logprobs;
  const bool token = entry.kind == CommitEntry::kToken || entry.kind == CommitEntry::kPromptToken;
  if (wanted == 0 || !token) return;
  std::vector<int32_t> ids;
  top_tokens(logits, std::min(wanted, kMaxTopLogprobs), ids);
  for (const int32_t id : ids) out.push_back({id, log_probability(logits, summary.sum, id)});
}

void StepLoop::on_layer(int layer, const float* hidden) {
  const auto width = static_cast<size_t>(engine_.host_->config.hidden);
  for (size_t r = 0; r < origins_.size(); ++r) {
    capture_.hidden(static_cast<int>(origins_[r].id), origins_[r].position, layer,
                    {hidden + r * width, width});
  }
}

void StepLoop::on_routing(int moe_index, int64_t rows, const int32_t* experts, const float* weights,
                          const float* logits) {
  const int k = engine_.host_->config.moe.router.top_k;
  loads_.count(moe_index, rows, k, experts);
  const Capture& wanted = options_.capture;
  if (!wanted.routing && !wanted.router_logits) return;
  const int layer = engine_.placement_.layers[static_cast<size_t>(moe_index)].layer;
  const auto width = static_cast<size_t>(k);
  const auto all = static_cast<size_t>(engine_.host_->config.moe.router.experts);
  for (size_t r = 0; r < origins_.size(); ++r) {
    const int id = static_cast<int>(origins_[r].id);
    const int64_t position = origins_[r].position;
    if (wanted.routing) {
      capture_.routing(id, position, layer, {experts + r * width, width},
                       {weights + r * width, width});
    }
    if (wanted.router_logits) {
      capture_.router_logits(id, position, layer, {logits + r * all, all});
    }
  }
}

}  // namespace wingspan
