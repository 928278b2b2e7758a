// Who has the least key, where keys change one at a time.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "eplb/share.h"

namespace wingspan {

// Players 0 … n - 1; the least key wins, then the lowest player. A heap needs as few comparisons,
// but no CPU guesses their outcome; here each is a selection.
class Tournament {
 public:
  static constexpr uint64_t kOut = ~uint64_t{0};  // the key of a player who takes no part

  explicit Tournament(size_t players) : leaves_(std::bit_ceil(players)), nodes_(2 * leaves_) {
    for (size_t i = 0; i < leaves_; ++i) nodes_[leaves_ + i] = {kOut, i};
  }

  // The first keys: all of them, then play().
  void place(size_t player, uint64_t key) { nodes_[leaves_ + player].key = key; }
  void play() {
    for (size_t i = leaves_ - 1; i > 0; --i) nodes_[i] = winner(nodes_[2 * i], nodes_[2 * i + 1]);
  }
  void change(size_t player, uint64_t key) {
    size_t i = leaves_ + player;
    Entry best = {key, player};
    for (nodes_[i] = best; i > 1; i /= 2) {
      best = winner(best, nodes_[i ^ 1U]);
      nodes_[i / 2] = best;
    }
  }
  uint64_t key(size_t player) const { return nodes_[leaves_ + player].key; }
  size_t winner() const { return nodes_[1].player; }

  // Numbers that are not negative as keys, the least or the largest first. Not kOut.
  static uint64_t least_first(double x) { return ordered_bits(x); }
  static uint64_t largest_first(double x) { return ~(least_first(x) + 1); }
  static double number(uint64_t least_first_key) { return std::bit_cast<double>(least_first_key); }

 private:
  struct Entry {
    uint64_t key = kOut, player = 0;
  };
  static Entry winner(const Entry& a, const Entry& b) {
    const bool second =
        static_cast<bool>((b.key < a.key) | ((b.key == a.key) & (b.player < a.player)));
    const uint64_t mask = -static_cast<uint64_t>(second);
    return {a.key ^ ((a.key ^ b.key) & mask), a.player ^ ((a.player ^ b.player) & mask)};
  }

  size_t leaves_;
  std::vector<Entry> nodes_;
};

}  // namespace wingspan
