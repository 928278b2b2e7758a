#include "sim/decode_instance.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace wingspan {
namespace {

constexpr int64_t kPositions = int64_t{1} << 40;

SchedulerLimits limits_of(const DecodePool& pool) {
  SchedulerLimits l;
  l.ranks = pool.ranks;
  l.max_sequences_per_rank = pool.max_sequences_per_rank;
  l.prefill_chunk = pool.prefill_chunk > 0 ? pool.prefill_chunk : kPositions;
  l.max_rows_per_rank = 2 * kPositions;
  l.kv_block = 64;
  l.kv_blocks_per_rank = std::clamp<int64_t>(pool.kv_tokens_per_rank / l.kv_block, 1, INT32_MAX);
  l.max_positions = kPositions;
  l.max_drafts = static_cast<int>(std::ceil(pool.accepted_per_step)) - 1;
  l.prefix_cache = false;  // requests are lengths here
  return l;
}

}  // namespace

DecodeInstance::DecodeInstance(const DecodePool& pool, uint64_t seed, uint64_t stream)
    : pool_(pool), rng_(seed, stream), scheduler_(limits_of(pool)) {
  WS_CHECK(pool.accepted_per_step >= 1, "{} tokens a step", pool.accepted_per_step);
  scheduler_.set_drafts(limits_of(pool).max_drafts);
}

// accepted_per_step in the mean: whole tokens, drawn between the two neighbouring numbers.
int64_t DecodeInstance::accepted(int drafts) {
  const double mean = pool_.accepted_per_step, low = std::floor(mean);
  int64_t tokens = static_cast<int64_t>(low);
  if (mean > low) {
    // 16 bits a step are as fine as an acceptance is known, and a draw has four of them.
    if (draws_++ % 4 == 0) bits_ = rng_.next();
    tokens += static_cast<double>(bits_ & 0xFFFF) < (mean - low) * 0x10000 ? 1 : 0;
    bits_ >>= 16;
  }
  return std::min<int64_t>(tokens, 1 + drafts);
}

void DecodeInstance::submit(int request, const SimRequest& shape, bool read) {
  SchedulerRequest r;
  r.id = static_cast<int64_t>(sequences_.size());
  r.prompt_tokens = shape.prompt_tokens;
  r.max_new_tokens = shape.output_tokens;
  r.kv_tokens = read ? shape.prompt_tokens - 1 : 0;
  const Status added = scheduler_.add(r);
  WS_CHECK(added.has_value());
  sequences_.push_back({request, shape.prompt_tokens, shape.output_tokens, 0, read});
}

bool DecodeInstance::add(int request, const SimRequest& shape, bool read) {
  const SchedulerLimits l = limits_of(pool_);
  const int64_t positions = shape.prompt_tokens + shape.output_tokens;
  if ((positions - 1) / l.kv_block + 1 > l.kv_blocks_per_rank) return false;
  if (!read && pool_.prefill_wait_steps > 1) {
    held_.push_back({request, shape});
  } else {
    submit(request, shape, read);
  }
  return true;
}

double DecodeInstance::begin_step() {
  WS_CHECK(!stepping_);
  const bool idle = scheduler_.done();
  if (next_held_ < held_.size() && (idle || step_ % pool_.prefill_wait_steps == 0)) {
    for (; next_held_ < held_.size(); ++next_held_) {
      submit(held_[next_held_].request, held_[next_held_].shape, false);
    }
    held_.clear();
    next_held_ = 0;
  }
  if (scheduler_.done()) return -1;
  plan_ = &scheduler_.plan_step();
  stepping_ = true;
  ++step_;
  return step_seconds(*plan_);
}

double DecodeInstance::step_seconds(const StepPlan& plan) const {
  size_t fullest = 0, sequences = 0;
  double context = 0, most_prompt_rows = 0, all_prompt_rows = 0;
  for (const auto& items : plan.ranks) {
    double prompt_rows = 0;
    size_t decoding = 0;
    for (const StepItem& item : items) {
      const Sequence& s = sequences_[static_cast<size_t>(item.id)];
      // The last token of a prompt that was handed over is a row like those that decode.
      if (item.reads && !(s.handed_over && item.rows == 1)) {
        prompt_rows += static_cast<double>(item.rows);
        continue;
      }
      ++decoding;
      context += static_cast<double>(s.prompt + s.made);
    }
    sequences += decoding;
    fullest = std::max(fullest, decoding);
    most_prompt_rows = std::max(most_prompt_rows, prompt_rows);
    all_prompt_rows += prompt_rows;
  }
  double seconds = pool_.prompt_time.seconds(
      most_prompt_rows, all_prompt_rows / static_cast<double>(plan.ranks.size()));
  if (sequences > 0) {
    seconds += pool_.step_s(static_cast<double>(fullest), context / static_cast<double>(sequences));
  }
  return seconds;
}

const DecodeInstance::Finished& DecodeInstance::end_step() {
  WS_CHECK(stepping_);
  stepping_ = false;
  finished_.first_tokens.clear();
  finished_.done.clear();
  for (const auto& items : plan_->ranks) {
    for (const StepItem& item : items) {
      if (!item.emits) continue;
      Sequence& s = sequences_[static_cast<size_t>(item.id)];
      if (s.made == 0) finished_.first_tokens.push_back(s.request);
      const int64_t tokens = item.reads ? 1 : accepted(item.draft_rows);
      for (int64_t i = 0; i < tokens; ++i) scheduler_.append(item.slot, 0);
      s.made += tokens;
      if (s.made < s.output) continue;
      finished_.done.push_back(s.request);
      scheduler_.finish(item.slot);
    }
  }
  scheduler_.commit();
  return finished_;
}

}  // namespace wingspan
