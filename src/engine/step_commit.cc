// The commit of a step: what ranks tell each other at its end, and what every rank then knows.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "engine/step_loop.h"

namespace wingspan {
namespace {

std::string tensor_phrase(Tensor tensor) {
  const bool several = tensor == Tensor::kRouterLogits || tensor == Tensor::kLogits;
  return fmt::format("the {} {}", tensor_name(tensor), several ? "are" : "is");
}

}  // namespace

Status StepLoop::commit(OrderSource* source) {
  Group& group = engine_.group_;
  group.set_progress({engine_.next_step_, -1, "commit"});
  const bool computes = plan_->rows() > 0;
  if (computes && capture_channel_ != nullptr) {
    const auto replay = [&](int, std::span<const std::byte> bytes) {
      return CaptureLog::replay(bytes, sink_);
    };
    WS_RETURN_IF_ERROR(gather_to_first(*capture_channel_, group, capture_.bytes(), replay));
  }
  if (computes && wants_tops_) WS_RETURN_IF_ERROR(send_tops());
  // As late as possible: a request that came during the step is in the next one.
  if (group.rank() == 0 && !sender_.sending()) {
    Orders next;
    WS_CHECK(source != nullptr, "rank 0 has no source of orders");
    source->next(next, scheduler_.done());
    sender_.start(next);
  }
  const auto orders = sender_.take(kOrderBytes);
  CommitHeader header;
  header.round = engine_.next_round_;
  header.epoch = engine_.placement_.epoch;
  header.plan = plan_->hash();
  header.orders = receiver_.hash();
  header.entries = static_cast<int32_t>(computes ? outcome_.entries.size() : 0);
  header.order_bytes = static_cast<int32_t>(orders.size());
  header.more_orders = sender_.sending() ? 1 : 0;
  spoiled_.assign(static_cast<size_t>(scheduler_.slots()), false);
  const auto on_message = [&](int rank, std::span<const std::byte> bytes) {
    return apply(rank, header, bytes);
  };
  WS_RETURN_IF_ERROR(
      all_gather(*engine_.channels_.commit, group.size(), message(header, orders), on_message));
  for (const int64_t id : scheduler_.commit()) {
    report_.ended.push_back({id, FinishReason::kLength, ""});
  }
  return {};
}

std::span<const std::byte> StepLoop::message(const CommitHeader& header,
                                             std::span<const std::byte> orders) {
  message_.clear();
  append_bytes(message_, &header, 1);
  append_bytes(message_, outcome_.entries.data(), static_cast<size_t>(header.entries));
  message_.insert(message_.end(), orders.begin(), orders.end());
  return message_;
}

// The most probable tokens beside the entries; rank 0 alone shows them.
Status StepLoop::send_tops() {
  std::vector<std::byte> mine;
  for (size_t i = 0; i < outcome_.entries.size(); ++i) {
    const auto& tops = outcome_.tops[i];
    if (tops.empty()) continue;
    const TopRecord record{static_cast<int32_t>(i), static_cast<int32_t>(tops.size())};
    append_bytes(mine, &record, 1);
    append_bytes(mine, tops.data(), tops.size());
  }
  return gather_to_first(*engine_.channels_.tops, engine_.group_, mine,
                         [&](int rank, std::span<const std::byte> bytes) -> Status {
                           received_tops_[static_cast<size_t>(rank)].assign(bytes.begin(),
                                                                            bytes.end());
                           return {};
                         });
}

Status StepLoop::check_guard(int rank, const CommitHeader& mine, const CommitHeader& theirs) const {
  const auto differ = [&](const char* what, auto a, auto b) {
    return failed(fmt::format("ranks {} and {} do not do the same step: {} {:#x} and {:#x}",
                              engine_.group_.rank(), rank, what, a, b),
                  fmt::format("commit, step {}", engine_.next_step_),
                  "start all ranks from one build with the same options");
  };
  if (mine.round != theirs.round) return differ("round", mine.round, theirs.round);
  if (mine.epoch != theirs.epoch) return differ("epoch", mine.epoch, theirs.epoch);
  if (mine.orders != theirs.orders) return differ("orders", mine.orders, theirs.orders);
  if (mine.plan != theirs.plan) return differ("plan", mine.plan, theirs.plan);
  return {};
}

// One rank's message: its entries in the order of its rows, and from rank 0 the orders.
Status StepLoop::apply(int rank, const CommitHeader& mine, std::span<const std::byte> bytes) {
  CommitHeader theirs;
  const auto malformed = [&] {
    return failed(fmt::format("malformed commit of {} bytes from rank {}", bytes.size(), rank),
                  fmt::format("commit, step {}", engine_.next_step_));
  };
  if (bytes.size() < sizeof(theirs)) return malformed();
  std::memcpy(&theirs, bytes.data(), sizeof(theirs));
  WS_RETURN_IF_ERROR(check_guard(rank, mine, theirs));
  const auto body = bytes.subspan(sizeof(theirs));
  if (theirs.entries < 0 || theirs.order_bytes < 0 ||
      body.size() != static_cast<size_t>(theirs.entries) * sizeof(CommitEntry) +
                         static_cast<size_t>(theirs.order_bytes)) {
    return malformed();
  }
  for (int32_t i = 0; i < theirs.entries; ++i) {
    CommitEntry entry;
    std::memcpy(&entry, body.data() + static_cast<size_t>(i) * sizeof(entry), sizeof(entry));
    WS_RETURN_IF_ERROR(apply_entry(rank, i, entry));
  }
  if (rank != 0) return {};
  const auto piece = body.subspan(static_cast<size_t>(theirs.entries) * sizeof(CommitEntry));
  WS_ASSIGN(const bool complete, receiver_.add(piece, theirs.more_orders != 0));
  if (complete) orders_ = receiver_.take();
  return {};
}

Status StepLoop::apply_entry(int rank, int32_t index, const CommitEntry& entry) {
  if (entry.kind == CommitEntry::kNone) return {};
  if (entry.slot < 0 || entry.slot >= scheduler_.slots()) {
    return failed(fmt::format("malformed commit: slot {}", entry.slot), "commit");
  }
  if (entry.kind == CommitEntry::kNotFinite) {
    apply_fault(entry);
    return {};
  }
  if (spoiled_[static_cast<size_t>(entry.slot)]) return {};
  TokenEvent& event = report_.tokens.emplace_back();
  event.id = scheduler_.id_of(entry.slot);
  event.prompt = entry.kind == CommitEntry::kPromptToken;
  event.token = entry.token;
  event.position = entry.position;
  event.logprob = entry.logprob;
  event.finish = static_cast<FinishReason>(entry.finish);
  event.logits_hash = entry.hash;
  auto& tops = received_tops_[static_cast<size_t>(rank)];
  if (!tops.empty()) {
    TopRecord record;
    size_t at = 0;
    while (at + sizeof(record) <= tops.size()) {
      std::memcpy(&record, tops.data() + at, sizeof(record));
      at += sizeof(record);
      if (record.entry == index) {
        event.top.resize(static_cast<size_t>(record.count));
        std::memcpy(event.top.data(), tops.data() + at, event.top.size() * sizeof(TopLogprob));
        break;
      }
      at += static_cast<size_t>(record.count) * sizeof(TopLogprob);
    }
  }
  if (event.prompt) return {};
  scheduler_.append(entry.slot, entry.token);
  if (event.finish != FinishReason::kNone) scheduler_.finish(entry.slot);
  return {};
}

// Its neighbours go on: nothing of one row enters another.
void StepLoop::apply_fault(const CommitEntry& entry) {
  const auto slot = static_cast<size_t>(entry.slot);
  if (spoiled_[slot]) return;  // the first position counts
  spoiled_[slot] = true;
  const std::string layer = entry.finish >= 0 ? fmt::format(", layer {}", entry.finish) : "";
  report_.ended.push_back(
      {scheduler_.id_of(entry.slot), FinishReason::kNotFinite,
       fmt::format("position {}{}: {} not finite (or its square is not)", entry.position, layer,
                   tensor_phrase(static_cast<Tensor>(entry.token)))});
  scheduler_.finish(entry.slot);
}

void StepLoop::account(const ForwardTimes& before, int64_t forward_ns, int64_t commit_ns) {
  const ForwardTimes& now = engine_.forward_.times();
  StepTimes& t = report_.times;
  t.steps = 1;
  t.rows = static_cast<int64_t>(tokens_.size());
  t.attention_ns = now.attention_ns - before.attention_ns;
  t.router_ns = now.router_ns - before.router_ns;
  t.dispatch_ns = now.dispatch_ns - before.dispatch_ns;
  t.group_gemm_ns = now.group_gemm_ns - before.group_gemm_ns;
  t.combine_ns = now.combine_ns - before.combine_ns;
  t.shared_ns = now.shared_ns - before.shared_ns;
  t.head_ns = now.head_ns - before.head_ns;
  t.commit_ns = commit_ns;
  t.total_ns = forward_ns + commit_ns;
}

void StepLoop::complete_report() {
  StepReport& r = report_;
  r.step = engine_.next_step_;
  r.epoch = engine_.placement_.epoch;
  for (const StepPlan::Started& s : plan_->started) {
    r.started.push_back({s.id, s.cached_tokens, s.rank});
  }
  r.preempted = plan_->preempted;
  r.prompt_rows = r.decode_rows = 0;
  for (const auto& items : plan_->ranks) {
    for (const StepItem& item : items) (item.reads ? r.prompt_rows : r.decode_rows) += item.rows;
  }
  r.running = scheduler_.running();
  r.waiting = scheduler_.waiting();
  r.kv_blocks = r.kv_blocks_used = 0;
  for (int rank = 0; rank < engine_.group_.size(); ++rank) {
    r.kv_blocks += scheduler_.pool(rank).blocks();
    r.kv_blocks_used += scheduler_.pool(rank).held();
  }
  r.cache_queries = scheduler_.cache_queries();
  r.cache_hits = scheduler_.cache_hits();
  r.preemptions = scheduler_.preemptions();
  for (auto& tops : received_tops_) tops.clear();
}

}  // namespace wingspan
