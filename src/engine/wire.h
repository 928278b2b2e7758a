// What ranks tell each other outside the layers: the agreement at start, the commit of a step,
// captured rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/status.h"
#include "comm/group.h"

namespace wingspan {

// A commit message begins with this: the step guard. Ranks whose headers differ have not done the
// same step, and stop.
struct CommitHeader {
  int64_t round = 0;    // commits so far
  int64_t epoch = 0;    // of the placement
  uint64_t plan = 0;    // StepPlan::hash
  uint64_t orders = 0;  // chained hash of all orders applied so far
  int32_t entries = 0;
  int32_t order_bytes = 0;  // behind the entries; of rank 0 only
  int32_t more_orders = 0;  // 1: these orders go on in the next commit
  int32_t padding = 0;
};

// One row's result, sent by the rank that owns its sequence.
struct CommitEntry {
  enum Kind : int32_t { kNone, kToken, kPromptToken, kNotFinite };
  int32_t kind = kNone;
  int32_t slot = 0;   // of the scheduler
  int32_t token = 0;  // with kNotFinite: the Tensor (model/step.h)
  float logprob = 0;
  int32_t finish = 0;    // FinishReason, with kToken; with kNotFinite: the layer
  int32_t position = 0;  // of the token; with kNotFinite: of the row
  uint64_t hash = 0;     // of the row of logits, if it is wanted
};

// Most probable tokens beside an entry, for rank 0 only: `count` TopLogprob follow.
struct TopRecord {
  int32_t entry = 0;  // index among the rank's entries
  int32_t count = 0;
};

// Order bytes of one commit; longer orders take several.
inline constexpr size_t kOrderBytes = size_t{32} << 10;

// Trivially copyable records back to back.
template <class T>
void append_bytes(std::vector<std::byte>& out, const T* values, size_t count) {
  const auto* p = reinterpret_cast<const std::byte*>(values);
  out.insert(out.end(), p, p + count * sizeof(T));
}

// Sends `mine` to every rank and calls on_message(rank, bytes) for each rank in order.
template <class F>
Status all_gather(Channel& channel, int ranks, std::span<const std::byte> mine, F&& on_message) {
  for (int peer = 0; peer < ranks; ++peer) {
    if (!mine.empty()) {
      WS_ASSIGN(auto region, channel.send_region(peer));
      std::memcpy(region.data(), mine.data(), mine.size());
    }
    WS_RETURN_IF_ERROR(channel.post(peer, mine.size()));
  }
  for (int peer = 0; peer < ranks; ++peer) {
    WS_ASSIGN(auto bytes, channel.wait(peer));
    WS_RETURN_IF_ERROR(on_message(peer, bytes));
  }
  return channel.finish();
}

// Sends `mine` to rank 0 only; on_message is called there.
template <class F>
Status gather_to_first(Channel& channel, Group& group, std::span<const std::byte> mine,
                       F&& on_message) {
  for (int peer = 0; peer < group.size(); ++peer) {
    const bool send = peer == 0 && !mine.empty();
    if (send) {
      WS_ASSIGN(auto region, channel.send_region(peer));
      std::memcpy(region.data(), mine.data(), mine.size());
    }
    WS_RETURN_IF_ERROR(channel.post(peer, send ? mine.size() : 0));
  }
  for (int peer = 0; group.rank() == 0 && peer < group.size(); ++peer) {
    WS_ASSIGN(auto bytes, channel.wait(peer));
    WS_RETURN_IF_ERROR(on_message(peer, bytes));
  }
  return channel.finish();
}

}  // namespace wingspan
