#include "sched/scheduler.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"

namespace wingspan {
namespace {

// Room for output tokens that is made when a request comes; a longer answer makes more on its way.
constexpr int64_t kReservedTokens = 8192;

}  // namespace

int64_t StepPlan::rows() const {
  int64_t rows = 0;
  for (const auto& items : ranks) {
    for (const StepItem& item : items) rows += item.rows;
  }
  return rows;
}

uint64_t StepPlan::hash() const {
  uint64_t h = hash_mix(kHashSeed, ranks.size());
  for (const auto& items : ranks) {
    h = hash_mix(h, items.size());
    for (const StepItem& item : items) {
      h = hash_mix(h, static_cast<uint64_t>(item.id));
      h = hash_mix(h, static_cast<uint64_t>(item.slot));
      h = hash_mix(h, static_cast<uint64_t>(item.first_position));
      h = hash_mix(h, static_cast<uint64_t>(item.rows));
      h = hash_mix(h, static_cast<uint64_t>(item.draft_rows) * 2 + (item.emits ? 1 : 0));
    }
  }
  for (const int64_t id : preempted) h = hash_mix(h, static_cast<uint64_t>(id));
  for (const Started& s : started) h = hash_mix(h, static_cast<uint64_t>(s.id));
  return h;
}

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits) {
  WS_CHECK(limits.ranks >= 1 && limits.max_sequences_per_rank >= 1 && limits.prefill_chunk >= 1,
           "{} ranks, {} sequences, chunk {}", limits.ranks, limits.max_sequences_per_rank,
           limits.prefill_chunk);
  const int64_t decoding = int64_t{limits.max_sequences_per_rank} * (1 + limits.max_drafts);
  WS_CHECK(limits.max_drafts >= 0 && limits.max_rows_per_rank - decoding >= limits.prefill_chunk,
           "{} rows, chunk {}, {} sequences, {} drafts", limits.max_rows_per_rank,
           limits.prefill_chunk, limits.max_sequences_per_rank, limits.max_drafts);
  WS_CHECK(limits.kv_blocks_per_rank >= 1 && limits.kv_blocks_per_rank <= INT32_MAX, "{} KV blocks",
           limits.kv_blocks_per_rank);
  WS_CHECK(limits.kv_block >= 1 && limits.max_positions >= 1, "block of {}, {} positions",
           limits.kv_block, limits.max_positions);
  plan_.ranks.resize(static_cast<size_t>(limits.ranks));
  for (int rank = 0; rank < limits.ranks; ++rank) {
    ranks_.push_back(
        {BlockPool(limits.kv_blocks_per_rank, limits.kv_block, limits.prefix_cache), {}});
    ranks_.back().running.reserve(static_cast<size_t>(limits.max_sequences_per_rank));
    plan_.ranks[static_cast<size_t>(rank)].reserve(
        static_cast<size_t>(limits.max_sequences_per_rank));
  }
}

Status Scheduler::check(const SchedulerLimits& limits, int64_t prompt_tokens,
                        int64_t max_new_tokens) {
  if (prompt_tokens < 1 || max_new_tokens < 0) {
    return invalid_input(
        fmt::format("{} prompt tokens and {} new tokens", prompt_tokens, max_new_tokens), "",
        "give at least one prompt token and no negative number");
  }
  if (prompt_tokens > limits.max_positions ||
      max_new_tokens > limits.max_positions - prompt_tokens) {
    return invalid_input(
        fmt::format(
            "{} prompt tokens and {} new tokens are more than the {} positions of a sequence",
            prompt_tokens, max_new_tokens, limits.max_positions),
        "", "shorten the prompt or ask for fewer tokens");
  }
  const int64_t blocks = (prompt_tokens + max_new_tokens - 1) / limits.kv_block + 1;
  if (blocks <= limits.kv_blocks_per_rank) return {};
  return invalid_input(
      fmt::format("{} prompt tokens and {} new tokens need {} KV blocks of {} positions, a rank "
                  "has {}",
                  prompt_tokens, max_new_tokens, blocks, limits.kv_block,
                  limits.kv_blocks_per_rank),
      "", "shorten the request or give the KV cache more memory");
}

Status Scheduler::add(const SchedulerRequest& request) {
  WS_RETURN_IF_ERROR(check(limits_, request.prompt_tokens, request.max_new_tokens));
  WS_CHECK(request.kv_tokens >= 0 && request.kv_tokens < request.prompt_tokens, "{} tokens of KV",
           request.kv_tokens);
  if (live(request.id)) {
    return invalid_input("the id is in use", fmt::format("request {}", request.id));
  }
  WS_CHECK(
      !limits_.prefix_cache || static_cast<int64_t>(request.prompt.size()) == request.prompt_tokens,
      "{} of {} prompt tokens", request.prompt.size(), request.prompt_tokens);
  int slot = slots();
  if (free_slots_.empty()) {
    slots_.emplace_back();
    free_slots_.reserve(slots_.size());
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  Sequence& s = at(slot);
  s = {};
  s.id = request.id;
  s.arrival = arrivals_++;
  s.priority = request.priority;
  s.reads_all = request.reads_all;
  s.prompt = s.length = request.prompt_tokens;
  s.max_new = request.max_new_tokens;
  s.kv_tokens = request.kv_tokens;
  if (limits_.prefix_cache) {
    s.tokens.reserve(static_cast<size_t>(s.prompt + std::min<int64_t>(s.max_new, kReservedTokens)));
    s.tokens.assign(request.prompt.begin(), request.prompt.end());
    s.hashes.reserve(static_cast<size_t>(blocks_for(s.prompt + s.max_new)));
  }
  live_.emplace(s.id, slot);
  enqueue(slot);
  return {};
}

void Scheduler::set_drafts(int drafts) {
  WS_CHECK(drafts >= 0 && drafts <= limits_.max_drafts, "{} drafts, at most {}", drafts,
           limits_.max_drafts);
  drafts_ = drafts;
}

bool Scheduler::before(int a, int b) const {
  return std::make_pair(at(a).priority, at(a).arrival) <
         std::make_pair(at(b).priority, at(b).arrival);
}

void Scheduler::enqueue(int slot) {
  at(slot).state = State::kWaiting;
  waiting_.emplace(at(slot).priority, at(slot).arrival, slot);
}

const StepPlan& Scheduler::plan_step() {
  if (planned_) return plan_;
  planned_ = true;
  plan_.preempted.clear();
  plan_.started.clear();
  for (auto& items : plan_.ranks) items.clear();
  for (int rank = 0; rank < limits_.ranks; ++rank) plan_decoding(rank);
  // With what those that decode have left, so that nobody is admitted to be preempted at once.
  admit();
  const bool decodes = std::any_of(plan_.ranks.begin(), plan_.ranks.end(),
                                   [](const auto& items) { return !items.empty(); });
  for (int rank = 0; rank < limits_.ranks; ++rank) plan_reading(rank, decodes);
  return plan_;
}

// In the order of priority and arrival: the first that has no place holds back those behind it, so
// nobody is overtaken for ever.
void Scheduler::admit() {
  std::vector<int32_t>& match = match_;
  while (!waiting_.empty()) {
    const int slot = std::get<2>(*waiting_.begin());
    const int rank = choose_rank(slot, match);
    if (rank < 0) return;
    waiting_.erase(waiting_.begin());
    admit_to(rank, slot, match);
  }
}

// A block for each sequence that may grow into one: without that reserve they would soon preempt.
int64_t Scheduler::soon_wanted(const Rank& rank) const {
  return std::count_if(rank.running.begin(), rank.running.end(), [&](int slot) {
    const Sequence& s = at(slot);
    return static_cast<int64_t>(s.blocks.size()) < blocks_for(s.prompt + s.max_new);
  });
}

// What a rank has to do: rows to read, and the blocks over which its sequences attend.
int64_t Scheduler::work(const Rank& rank) const {
  int64_t unread = 0;
  for (const int slot : rank.running) unread += at(slot).unread();
  return unread + rank.pool.held();
}

// The rank with the least work once it has this sequence, rows found in its cache being none; −1
// if none has a place and blocks. Work is counted here, when a sequence is assigned, so that
// requests that come together do not all go to one rank.
int Scheduler::choose_rank(int slot, std::vector<int32_t>& best_match) {
  Sequence& s = at(slot);
  const bool looks_up = limits_.prefix_cache && !s.reads_all;
  // The last token is always computed: its row gives the next one.
  const int64_t reusable = looks_up ? (s.length - 1) / limits_.kv_block : 0;
  if (looks_up) hash_blocks(s, reusable);
  int best = -1;
  int64_t least = 0;
  std::vector<int32_t> match;
  for (int rank = 0; rank < limits_.ranks; ++rank) {
    const Rank& r = ranks_[static_cast<size_t>(rank)];
    if (static_cast<int>(r.running.size()) >= limits_.max_sequences_per_rank) continue;
    r.pool.match(s.tokens, std::span(s.hashes).first(static_cast<size_t>(reusable)), match);
    const auto found = static_cast<int64_t>(match.size());
    const int64_t reserve = soon_wanted(r);
    const int64_t there = r.pool.available() - r.pool.idle_of(match);
    if (blocks_for(s.length) - found + reserve > there) continue;
    const int64_t total = work(r) + s.length - found * limits_.kv_block;
    if (best >= 0 && total >= least) continue;
    best = rank;
    least = total;
    best_match = match;
  }
  return best;
}

void Scheduler::admit_to(int rank, int slot, std::span<const int32_t> cached) {
  Sequence& s = at(slot);
  Rank& r = ranks_[static_cast<size_t>(rank)];
  s.state = State::kRunning;
  s.rank = rank;
  s.blocks.reserve(static_cast<size_t>(blocks_for(s.prompt + s.max_new)));
  s.blocks.assign(cached.begin(), cached.end());
  for (const int32_t block : cached) r.pool.hold(block);
  s.published = static_cast<int64_t>(cached.size());
  s.position = std::max(s.published * limits_.kv_block, s.kv_tokens);
  while (static_cast<int64_t>(s.blocks.size()) < blocks_for(s.length)) {
    s.blocks.push_back(r.pool.take());
  }
  const auto place = std::upper_bound(r.running.begin(), r.running.end(), slot,
                                      [&](int a, int b) { return before(a, b); });
  r.running.insert(place, slot);
  plan_.started.push_back({s.id, rank, s.position});
  if (!limits_.prefix_cache || s.reads_all) return;
  cache_queries_ += s.length;
  cache_hits_ += s.position;
}

void Scheduler::hash_blocks(Sequence& s, int64_t blocks) const {
  const auto width = static_cast<size_t>(limits_.kv_block);
  while (static_cast<int64_t>(s.hashes.size()) < blocks) {
    const size_t i = s.hashes.size();
    const uint64_t chain = i == 0 ? limits_.cache_root : s.hashes.back();
    s.hashes.push_back(
        BlockPool::chain_hash(chain, std::span<const int32_t>(s.tokens).subspan(i * width, width)));
  }
}

void Scheduler::plan_item(int rank, const StepItem& item) {
  Sequence& s = at(item.slot);
  s.planned = true;
  s.emits = item.emits;
  s.draft_rows = item.draft_rows;
  s.appended = 0;
  plan_.ranks[static_cast<size_t>(rank)].push_back(item);
}

void Scheduler::plan_decoding(int rank) {
  Rank& r = ranks_[static_cast<size_t>(rank)];
  // Who is preempted stands behind all that were looked at, or is the one at hand and the last.
  for (size_t i = 0; i < r.running.size(); ++i) {
    const int slot = r.running[i];
    if (!at(slot).decodes()) continue;
    const int drafts = drafts_with_room(r, slot);
    if (drafts < 0) return;
    plan_item(rank, {at(slot).id, slot, at(slot).position, 1 + drafts, drafts, false, true});
  }
}

// Takes the blocks of this step's rows; drafts for which none is available are left out. −1: the
// sequence was itself preempted.
int Scheduler::drafts_with_room(Rank& r, int slot) {
  Sequence& s = at(slot);
  const int64_t to_come = s.max_new - (s.length - s.prompt);
  const int64_t wanted = std::clamp<int64_t>(to_come - 1, 0, drafts_);
  for (int64_t rows = 1; rows <= 1 + wanted; ++rows) {
    while (static_cast<int64_t>(s.blocks.size()) < blocks_for(s.position + rows)) {
      if (r.pool.available() > 0) {
        s.blocks.push_back(r.pool.take());
        continue;
      }
      if (rows > 1) return static_cast<int>(rows - 2);
      const int victim = r.running.back();
      preempt(victim);
      if (victim == slot) return -1;
    }
  }
  return static_cast<int>(wanted);
}

void Scheduler::plan_reading(int rank, bool others_decode) {
  const Rank& r = ranks_[static_cast<size_t>(rank)];
  int64_t left = limits_.max_rows_per_rank;
  for (const StepItem& item : plan_.ranks[static_cast<size_t>(rank)]) left -= item.rows;
  if (others_decode && prompt_rows_ > 0) left = std::min(left, prompt_rows_);
  for (const int slot : r.running) {
    const Sequence& s = at(slot);
    if (s.planned) continue;
    const int64_t rows = std::min({s.unread(), limits_.prefill_chunk, left});
    if (rows <= 0) continue;
    plan_item(rank, {s.id, slot, s.position, rows, 0, true, rows == s.unread() && s.max_new > 0});
    left -= rows;
  }
}

void Scheduler::leave_rank(int slot) {
  Sequence& s = at(slot);
  Rank& r = ranks_[static_cast<size_t>(s.rank)];
  for (auto block = s.blocks.rbegin(); block != s.blocks.rend(); ++block) r.pool.give(*block);
  s.blocks.clear();
  s.position = s.published = 0;
  s.rank = -1;
  const auto place = std::find(r.running.begin(), r.running.end(), slot);
  WS_CHECK(place != r.running.end(), "request {} does not run", s.id);
  r.running.erase(place);
}

void Scheduler::preempt(int slot) {
  leave_rank(slot);
  at(slot).kv_tokens = 0;  // gone with its blocks
  enqueue(slot);
  plan_.preempted.push_back(at(slot).id);
  ++preemptions_;
}

void Scheduler::append(int slot, int32_t token) {
  Sequence& s = at(slot);
  WS_CHECK(planned_ && s.planned && s.emits && s.appended <= s.draft_rows,
           "request {} has no row for a token, {} appended", s.id, s.appended);
  ++s.appended;
  ++s.length;
  if (limits_.prefix_cache) s.tokens.push_back(token);
}

void Scheduler::finish(int slot) {
  WS_CHECK(planned_ && at(slot).planned, "request {} is not in the plan", at(slot).id);
  at(slot).state = State::kEnding;
}

const std::vector<int64_t>& Scheduler::commit() {
  WS_CHECK(planned_, "commit without a plan");
  planned_ = false;
  read_.clear();
  for (const auto& items : plan_.ranks) {
    for (const StepItem& item : items) {
      Sequence& s = at(item.slot);
      s.planned = false;
      const bool ends = s.state == State::kEnding;
      WS_CHECK(!item.emits || ends || s.appended > 0, "request {} got no token", s.id);
      if (ends && s.appended == 0) {
        // Cancelled, or its rows are not to be trusted: they count no more and are not cached.
      } else if (!item.emits) {
        s.position = item.first_position + item.rows;
      } else {
        s.position = s.length - 1;
      }
      publish(item.slot);
      const bool read = s.max_new == 0 && s.position == s.length;
      if (read && !ends) read_.push_back(s.id);
      if (!read && !ends) continue;
      leave_rank(item.slot);
      retire(item.slot);
    }
  }
  return read_;
}

void Scheduler::publish(int slot) {
  if (!limits_.prefix_cache) return;
  Sequence& s = at(slot);
  BlockPool& pool = ranks_[static_cast<size_t>(s.rank)].pool;
  const auto width = static_cast<size_t>(limits_.kv_block);
  const int64_t full = s.position / limits_.kv_block;
  hash_blocks(s, full);
  for (; s.published < full; ++s.published) {
    const auto i = static_cast<size_t>(s.published);
    s.blocks[i] = pool.publish(s.blocks[i], i == 0 ? -1 : s.blocks[i - 1], s.hashes[i],
                               std::span<const int32_t>(s.tokens).subspan(i * width, width));
  }
}

void Scheduler::retire(int slot) {
  Sequence& s = at(slot);
  live_.erase(s.id);
  s = {};
  free_slots_.push_back(slot);
}

bool Scheduler::cancel(int64_t id) {
  const int slot = slot_of(id);
  if (slot < 0) return false;
  Sequence& s = at(slot);
  if (s.state == State::kEnding) return false;
  if (planned_ && s.planned) {
    s.state = State::kEnding;
    return true;
  }
  if (s.state == State::kWaiting) {
    waiting_.erase({s.priority, s.arrival, slot});
  } else {
    leave_rank(slot);
  }
  retire(slot);
  return true;
}

int Scheduler::slot_of(int64_t id) const {
  const auto found = live_.find(id);
  return found == live_.end() ? -1 : found->second;
}

}  // namespace wingspan
