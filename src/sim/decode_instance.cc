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
  // A prompt is read in one step: handed over, or inside the step that it lengthens.
  l.prefill_chunk = kPositions;
  l.max_rows_per_rank = 2 * kPositions;
  l.kv_block = 64;
  l.kv_blocks_per_rank = std::clamp<int64_t>(pool.kv_tokens_per_rank / l.kv_block, 1, INT32_MAX);
  l.max_positions = kPositions;
  return l;
}

}  // namespace

DecodeInstance::DecodeInstance(const DecodePool& pool, uint64_t seed, uint64_t stream)
    : pool_(pool), rng_(seed, stream), scheduler_(limits_of(pool)) {
  WS_CHECK(pool.accepted_per_step >= 1, "{} tokens a step", pool.accepted_per_step);
}

// Steps until `tokens` are there when each brings accepted_per_step in the mean: whole tokens,
// drawn between the two neighbouring numbers.
int64_t DecodeInstance::steps_for(int64_t tokens) {
  const double accepted = pool_.accepted_per_step, low = std::floor(accepted);
  if (accepted == low) return (tokens + static_cast<int64_t>(low) - 1) / static_cast<int64_t>(low);
  // 16 bits a step are as fine as an acceptance is known, and a draw has four of them.
  const auto threshold = static_cast<uint64_t>(std::lround((accepted - low) * 0x10000));
  int64_t steps = 0;
  uint64_t bits = 0;
  for (int64_t made = 0; made < tokens; ++steps, bits >>= 16) {
    if (steps % 4 == 0) bits = rng_.next();
    made += static_cast<int64_t>(low) + ((bits & 0xFFFF) < threshold ? 1 : 0);
  }
  return steps;
}

void DecodeInstance::submit(int request, const SimRequest& shape, bool read) {
  const int64_t steps = steps_for(shape.output_tokens);
  // The scheduler makes one token a step; KV blocks are kept for all tokens from the start.
  const int64_t before = shape.prompt_tokens + shape.output_tokens - steps;
  const auto added = scheduler_.add({before, steps});
  WS_CHECK(added.has_value());
  sequences_.push_back({request, before, steps, static_cast<double>(shape.prompt_tokens), read});
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
  scheduler_.plan_step(plan_);
  stepping_ = true;
  ++step_;
  return look_at_plan();
}

double DecodeInstance::look_at_plan() {
  finished_.first_tokens.clear();
  finished_.done.clear();
  size_t fullest = 0, sequences = 0;
  double context = 0, most_prompt_rows = 0, all_prompt_rows = 0;
  for (const auto& items : plan_.ranks) {
    double prompt_rows = 0;
    size_t reading = 0;
    for (const StepItem& item : items) {
      const Sequence& s = sequences_[static_cast<size_t>(item.request)];
      const bool first = item.first_position < s.positions_before;
      // The first token comes with the prompt's rows, so the last of n steps begins n − 2 later.
      const int64_t made = first ? 0 : item.first_position - s.positions_before + 1;
      if (first) finished_.first_tokens.push_back(s.request);
      if (made + 1 >= s.steps) finished_.done.push_back(s.request);
      if (first && !s.read) {
        prompt_rows += s.prompt;
        ++reading;
      } else {
        context += s.prompt + static_cast<double>(made) * pool_.accepted_per_step;
      }
    }
    const size_t decoding = items.size() - reading;
    sequences += decoding;
    fullest = std::max(fullest, decoding);
    most_prompt_rows = std::max(most_prompt_rows, prompt_rows);
    all_prompt_rows += prompt_rows;
  }
  double seconds = pool_.prompt_time.seconds(
      most_prompt_rows, all_prompt_rows / static_cast<double>(plan_.ranks.size()));
  if (sequences > 0) {
    seconds += pool_.step_s(static_cast<double>(fullest), context / static_cast<double>(sequences));
  }
  return seconds;
}

const DecodeInstance::Finished& DecodeInstance::end_step() {
  WS_CHECK(stepping_);
  stepping_ = false;
  scheduler_.commit(plan_);
  return finished_;
}

}  // namespace wingspan
