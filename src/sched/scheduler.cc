#include "sched/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/check.h"

namespace wingspan {

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits) {
  WS_CHECK(limits.ranks >= 1 && limits.max_sequences_per_rank >= 1 && limits.prefill_chunk >= 1,
           "{} ranks, {} sequences, chunk {}", limits.ranks, limits.max_sequences_per_rank,
           limits.prefill_chunk);
  WS_CHECK(limits.max_rows_per_rank - limits.max_sequences_per_rank >= limits.prefill_chunk,
           "{} rows, chunk {}, {} sequences", limits.max_rows_per_rank, limits.prefill_chunk,
           limits.max_sequences_per_rank);
  WS_CHECK(limits.kv_blocks_per_rank >= 1 && limits.kv_blocks_per_rank <= INT32_MAX, "{} KV blocks",
           limits.kv_blocks_per_rank);
  WS_CHECK(limits.kv_block >= 1 && limits.max_positions >= 1, "block of {}, {} positions",
           limits.kv_block, limits.max_positions);
  ranks_.resize(static_cast<size_t>(limits.ranks));
  for (Rank& rank : ranks_)
    rank.running.reserve(static_cast<size_t>(limits.max_sequences_per_rank));
}

int64_t Scheduler::blocks_for(RequestShape shape) const {
  return (shape.prompt_tokens + shape.max_new_tokens - 1) / limits_.kv_block + 1;
}

Expected<int> Scheduler::add(RequestShape shape) {
  const int request = requests();
  const std::string where = fmt::format("request {}", request);
  if (shape.prompt_tokens < 1 || shape.max_new_tokens < 0) {
    return invalid_input(fmt::format("{} prompt tokens and {} new tokens", shape.prompt_tokens,
                                     shape.max_new_tokens),
                         where, "give at least one prompt token and no negative number");
  }
  if (shape.prompt_tokens > limits_.max_positions ||
      shape.max_new_tokens > limits_.max_positions - shape.prompt_tokens) {
    return invalid_input(
        fmt::format(
            "{} prompt tokens and {} new tokens are more than the {} positions of a sequence",
            shape.prompt_tokens, shape.max_new_tokens, limits_.max_positions),
        where, "shorten the prompt or lower --max-tokens");
  }
  const int64_t blocks = blocks_for(shape);
  if (blocks > limits_.kv_blocks_per_rank) {
    return invalid_input(
        fmt::format("{} prompt tokens and {} new tokens need {} KV blocks of {} positions, a rank "
                    "has {}",
                    shape.prompt_tokens, shape.max_new_tokens, blocks, limits_.kv_block,
                    limits_.kv_blocks_per_rank),
        where, "shorten the request or give the KV cache more memory");
  }
  sequences_.push_back({.shape = shape, .blocks = {}});
  ++waiting_;
  return request;
}

int64_t Scheduler::free_blocks(int rank) const {
  const Rank& r = ranks_[static_cast<size_t>(rank)];
  return limits_.kv_blocks_per_rank - r.next_block + static_cast<int64_t>(r.given_back.size());
}

// Of the ranks with a free place; −1 if none has one.
int Scheduler::emptiest_rank() const {
  int best = -1;
  for (int rank = 0; rank < limits_.ranks; ++rank) {
    const auto places = static_cast<size_t>(limits_.max_sequences_per_rank);
    if (ranks_[static_cast<size_t>(rank)].running.size() >= places) continue;
    if (best < 0 || free_blocks(rank) > free_blocks(best)) best = rank;
  }
  return best;
}

void Scheduler::admit() {
  for (; next_waiting_ < requests(); ++next_waiting_) {
    const Sequence& s = sequences_[static_cast<size_t>(next_waiting_)];
    if (s.state != State::kWaiting) continue;
    const int rank = emptiest_rank();
    if (rank < 0 || free_blocks(rank) < blocks_for(s.shape)) return;
    admit_to(rank, next_waiting_);
  }
}

void Scheduler::admit_to(int rank, int request) {
  Sequence& s = sequences_[static_cast<size_t>(request)];
  Rank& r = ranks_[static_cast<size_t>(rank)];
  s.state = State::kRunning;
  s.rank = rank;
  const int64_t blocks = blocks_for(s.shape);
  s.blocks.reserve(static_cast<size_t>(blocks));
  for (int64_t i = 0; i < blocks; ++i) {
    if (r.given_back.empty()) {
      s.blocks.push_back(r.next_block++);
      continue;
    }
    std::pop_heap(r.given_back.begin(), r.given_back.end(), std::greater<>());
    s.blocks.push_back(r.given_back.back());
    r.given_back.pop_back();
  }
  r.running.push_back(request);
  --waiting_;
  ++running_;
}

void Scheduler::plan_step(StepPlan& plan) {
  admit();
  plan.ranks.resize(ranks_.size());
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    plan.ranks[rank].clear();
    plan.ranks[rank].reserve(static_cast<size_t>(limits_.max_sequences_per_rank));
    plan_rank(ranks_[rank], plan.ranks[rank]);
  }
}

void Scheduler::plan_rank(const Rank& rank, std::vector<StepItem>& items) const {
  for (const int request : rank.running) {
    const Sequence& s = sequences_[static_cast<size_t>(request)];
    if (s.position >= s.shape.prompt_tokens) items.push_back({request, s.position, 1, true});
  }
  int64_t left = limits_.max_rows_per_rank - static_cast<int64_t>(items.size());
  for (const int request : rank.running) {
    const Sequence& s = sequences_[static_cast<size_t>(request)];
    const int64_t unread = s.shape.prompt_tokens - s.position;
    const int64_t rows = std::min({unread, limits_.prefill_chunk, left});
    if (rows <= 0) continue;
    items.push_back({request, s.position, rows, rows == unread && s.shape.max_new_tokens > 0});
    left -= rows;
  }
}

void Scheduler::commit(const StepPlan& plan) {
  WS_CHECK(plan.ranks.size() == ranks_.size(), "{} ranks in the plan, {}", plan.ranks.size(),
           ranks_.size());
  for (const auto& items : plan.ranks) {
    for (const StepItem& item : items) {
      WS_CHECK(item.request >= 0 && item.request < requests(), "request {}", item.request);
      Sequence& s = sequences_[static_cast<size_t>(item.request)];
      if (s.state == State::kFinished) continue;
      WS_CHECK(s.state == State::kRunning && s.position == item.first_position,
               "request {} is at position {}, the plan at {}", item.request, s.position,
               item.first_position);
      s.position += item.rows;
      s.generated += item.emits ? 1 : 0;
      const bool read = s.position >= s.shape.prompt_tokens;
      if (read && s.generated >= s.shape.max_new_tokens) finish(item.request);
    }
  }
}

void Scheduler::finish(int request) {
  WS_CHECK(request >= 0 && request < requests(), "request {} of {}", request, requests());
  Sequence& s = sequences_[static_cast<size_t>(request)];
  if (s.state == State::kFinished) return;
  if (s.state == State::kWaiting) {
    --waiting_;
  } else {
    release(request);
    --running_;
  }
  s.state = State::kFinished;
}

void Scheduler::release(int request) {
  Sequence& s = sequences_[static_cast<size_t>(request)];
  Rank& r = ranks_[static_cast<size_t>(s.rank)];
  for (const int32_t block : s.blocks) {
    r.given_back.push_back(block);
    std::push_heap(r.given_back.begin(), r.given_back.end(), std::greater<>());
  }
  std::vector<int32_t>().swap(s.blocks);
  const auto place = std::find(r.running.begin(), r.running.end(), request);
  WS_CHECK(place != r.running.end(), "request {} does not run on rank {}", request, s.rank);
  r.running.erase(place);
}

bool Scheduler::finished(int request) const {
  return sequences_[static_cast<size_t>(request)].state == State::kFinished;
}

int Scheduler::rank_of(int request) const { return sequences_[static_cast<size_t>(request)].rank; }

std::span<const int32_t> Scheduler::block_table(int request) const {
  return sequences_[static_cast<size_t>(request)].blocks;
}

}  // namespace wingspan
