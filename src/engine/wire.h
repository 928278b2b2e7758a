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

// One entry of a commit message. A token's entry is sent by the rank that owns its sequence.
struct CommitEntry {
  enum Kind : int32_t { kToken, kPromptLogprob };
  int32_t kind = kToken;
  int32_t request = 0;
  int32_t token = 0;
  float logprob = 0;
  int32_t finish = 0;    // FinishReason, with kToken
  int32_t position = 0;  // of the token that the log probability belongs to
};

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
