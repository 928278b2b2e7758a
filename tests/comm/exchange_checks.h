// One body of checks for every transport: random traffic whose contents a receiver can predict.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/rng.h"
#include "comm/group.h"

namespace wingspan::test {

// What `sender` tells `receiver` in a round: length and bytes follow from the seed alone.
inline std::vector<std::byte> message(uint64_t seed, int sender, int receiver, int64_t round,
                                      size_t capacity) {
  Rng rng(seed, static_cast<uint64_t>(round) << 32 | static_cast<uint64_t>(sender) << 16 |
                    static_cast<uint64_t>(receiver));
  const uint64_t kind = rng.below(8);
  const size_t size = kind == 0 ? 0 : kind == 1 ? capacity : rng.below(capacity + 1);
  std::vector<std::byte> out(size);
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t word = rng.next();
    std::memcpy(out.data() + i, &word, std::min<size_t>(8, size - i));
  }
  return out;
}

// `rounds` rounds of random traffic on two channels; some rounds wait for some peers only, or for
// none.
inline Status random_traffic(Group& group, uint64_t seed, int rounds) {
  const size_t capacities[] = {4096, 200};
  std::vector<std::unique_ptr<Channel>> channels;
  for (size_t c : capacities) {
    WS_ASSIGN(auto channel, group.open_channel(c, "checks"));
    channels.push_back(std::move(channel));
  }
  const int me = group.rank();
  Rng own(seed, 1000 + static_cast<uint64_t>(me));
  for (int64_t round = 0; round < rounds; ++round) {
    for (size_t c = 0; c < channels.size(); ++c) {
      Channel& channel = *channels[c];
      const uint64_t key = seed * 2 + c;
      group.set_progress({round, static_cast<int>(c), "checks"});
      for (int peer = 0; peer < group.size(); ++peer) {
        const auto bytes = message(key, me, peer, round, capacities[c]);
        if (!bytes.empty()) {
          WS_ASSIGN(auto region, channel.send_region(peer));
          std::memcpy(region.data(), bytes.data(), bytes.size());
        }
        WS_RETURN_IF_ERROR(channel.post(peer, bytes.size()));
      }
      const uint64_t mood = own.below(4);  // 0: waits for none, 1: for some, else for all
      for (int peer = 0; peer < group.size() && mood > 0; ++peer) {
        if (mood == 1 && own.below(2) == 0) continue;
        WS_ASSIGN(auto got, channel.wait(peer));
        const auto want = message(key, peer, me, round, capacities[c]);
        if (!std::equal(got.begin(), got.end(), want.begin(), want.end())) {
          return failed(
              fmt::format("rank {} got other bytes from rank {} in round {}", me, peer, round));
        }
      }
      WS_RETURN_IF_ERROR(channel.finish());
    }
  }
  return group.barrier();
}

}  // namespace wingspan::test
