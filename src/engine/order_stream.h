// Orders as bytes: rank 0 writes them in pieces into its commits, every rank puts the pieces
// together and reads the same orders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/messages.h"

namespace wingspan {

std::vector<std::byte> write_orders(const Orders& orders);
// Error (kFailed): malformed.
Expected<Orders> read_orders(std::span<const std::byte> bytes);

// The sending end, on rank 0.
class OrderSender {
 public:
  bool sending() const { return sent_ < bytes_.size(); }
  // Only when nothing is being sent; empty orders send nothing.
  void start(const Orders& orders);
  // The next piece, at most `limit` bytes; empty if nothing is being sent.
  std::span<const std::byte> take(size_t limit);

 private:
  std::vector<std::byte> bytes_;
  size_t sent_ = 0;
};

// The receiving end, on every rank.
class OrderReceiver {
 public:
  // Adds a piece; `more`: the orders go on in the next one. The orders, once they are complete.
  Expected<bool> add(std::span<const std::byte> piece, bool more);
  // After add() returned true.
  Orders take() { return std::move(orders_); }
  uint64_t hash() const { return hash_; }  // chained over all orders so far

 private:
  std::vector<std::byte> bytes_;
  Orders orders_;
  uint64_t hash_ = 0;
};

}  // namespace wingspan
