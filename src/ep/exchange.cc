#include "ep/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/fault.h"
#include "ep/window_layout.h"

namespace wingspan {
namespace {

// Where an output of one of this rank's own tokens will arrive.
struct Ticket {
  int32_t peer = 0;
  uint32_t pair = 0;  // in the message to that peer
};

class WindowExchange final : public Exchange {
 public:
  WindowExchange(Group& group, const ExchangeShape& shape, std::unique_ptr<Channel> dispatch,
                 std::unique_ptr<Channel> combine)
      : group_(group),
        shape_(shape),
        layout_(shape),
        dispatch_(std::move(dispatch)),
        combine_(std::move(combine)),
        peers_(static_cast<size_t>(group.size())),
        tickets_(static_cast<size_t>(layout_.max_pairs)),
        slot_begin_(static_cast<size_t>(shape.max_local_slots) + 1) {
    const auto most = static_cast<size_t>(layout_.max_pairs) * static_cast<size_t>(group.size());
    pairs_.reserve(most);  // untouched pages cost nothing
    choices_.reserve(static_cast<size_t>(layout_.max_pairs));
    last_row_.resize(static_cast<size_t>(group.size()));
    output_rows_.resize(static_cast<size_t>(shape.top_k));
  }

  void set_place(int64_t step, int layer) override {
    place_.step = step;
    place_.layer = layer;
  }

  Status dispatch(const SlotMap& map, const DispatchInput& input) override {
    enter("dispatch");
    WS_CHECK(input.count <= shape_.max_rows, "rows {} > {}", input.count, shape_.max_rows);
    local_slots_ = map.local_slots();
    count_ = input.count;
    choose_slots(map, input);
    WS_RETURN_IF_ERROR(write_windows(input));
    for (int peer = 0; peer < group_.size(); ++peer) {
      const Peer& p = peers_[static_cast<size_t>(peer)];
      WS_RETURN_IF_ERROR(dispatch_->post(peer, static_cast<size_t>(layout_.used(p.rows, p.pairs))));
    }
    return {};
  }

  Expected<ReceivedRows> receive() override {
    std::fill(slot_begin_.begin(), slot_begin_.end(), 0);
    int64_t total = 0;
    for (int peer = 0; peer < group_.size(); ++peer) {
      WS_ASSIGN(auto bytes, dispatch_->wait(peer));
      Peer& p = peers_[static_cast<size_t>(peer)];
      WS_RETURN_IF_ERROR(read_header(peer, bytes, p));
      for (uint32_t i = 0; i < p.in.pairs; ++i) ++slot_begin_[p.in_pairs[i].local_slot + 1];
      total += p.in.pairs;
    }
    for (int s = 0; s < local_slots_; ++s) {
      slot_begin_[static_cast<size_t>(s) + 1] += slot_begin_[static_cast<size_t>(s)];
    }
    pairs_.resize(static_cast<size_t>(total));
    WS_RETURN_IF_ERROR(sort_pairs());
    return ReceivedRows{{slot_begin_.data(), static_cast<size_t>(local_slots_) + 1}, pairs_};
  }

  Status send_outputs() override {
    for (int peer = 0; peer < group_.size(); ++peer) {
      const auto bytes =
          peers_[static_cast<size_t>(peer)].in.pairs * static_cast<uint64_t>(layout_.output_bytes);
      WS_RETURN_IF_ERROR(combine_->post(peer, bytes));
    }
    return dispatch_->finish();
  }

  Status combine(const Kernels& kernels, const float* weights, float* out,
                 int64_t out_stride) override {
    enter("combine");
    for (int peer = 0; peer < group_.size(); ++peer) {
      Peer& p = peers_[static_cast<size_t>(peer)];
      if (p.pairs == 0) continue;  // nothing was sent there, so nothing comes back
      WS_ASSIGN(auto bytes, combine_->wait(peer));
      if (bytes.size() != static_cast<size_t>(p.pairs * layout_.output_bytes)) {
        return failed(
            fmt::format("rank {} returned {} bytes for {} rows", peer, bytes.size(), p.pairs),
            "combine");
      }
      p.outputs = bytes.data();
    }
    const auto k = static_cast<size_t>(shape_.top_k);
    for (int64_t row = 0; row < count_; ++row) {
      const Ticket* tickets = tickets_.data() + static_cast<size_t>(row) * k;
      for (size_t j = 0; j < k; ++j) {
        const Peer& p = peers_[static_cast<size_t>(tickets[j].peer)];
        output_rows_[j] =
            reinterpret_cast<const float*>(p.outputs + tickets[j].pair * layout_.output_bytes);
      }
      const float* w = weights + static_cast<size_t>(row) * k;
      float* sum = out + row * out_stride;
      if (combine_fault_active()) [[unlikely]] {
        combine_with_fault(output_rows_.data(), w, tickets, sum);
      } else {
        kernels.combine(output_rows_.data(), w, shape_.top_k, shape_.hidden, sum);
      }
    }
    return combine_->finish();
  }

 private:
  struct Peer {
    int64_t rows = 0, pairs = 0;          // sent to it
    int64_t next_pair = 0, next_row = 0;  // while writing
    std::byte* region = nullptr;
    WindowHeader in;  // received from it
    const WindowPair* in_pairs = nullptr;
    const std::byte* in_rows = nullptr;
    float* out_rows = nullptr;           // outputs to it
    const std::byte* outputs = nullptr;  // outputs from it
  };

  void enter(const char* exchange) {
    place_.exchange = exchange;
    group_.set_progress(place_);
  }

  static bool combine_fault_active() {
    return fault_is(Fault::kSumPerRankBeforeCombine) || fault_is(Fault::kSwapTwoAddends);
  }

  // What engines do that sum on the way, or in the order of arrival: right but for rounding.
  void combine_with_fault(const float* const* rows, const float* w, const Ticket* tickets,
                          float* out) const {
    const bool per_rank = fault_is(Fault::kSumPerRankBeforeCombine);
    for (int64_t c = 0; c < shape_.hidden; ++c) {
      float total = 0;
      for (int peer = 0; per_rank && peer < group_.size(); ++peer) {
        float part = 0;
        for (int j = 0; j < shape_.top_k; ++j) {
          if (tickets[j].peer == peer) part += w[j] * rows[j][c];
        }
        total += part;
      }
      for (int j = 0; !per_rank && j < shape_.top_k; ++j) {
        const int position = shape_.top_k > 1 && j < 2 ? 1 - j : j;
        total = std::fma(w[position], rows[position][c], total);
      }
      out[c] = total;
    }
  }

  // First pass: the slot of every (token, position), and how much goes to whom.
  void choose_slots(const SlotMap& map, const DispatchInput& input) {
    for (Peer& p : peers_) p.rows = p.pairs = p.next_pair = p.next_row = 0;
    std::fill(last_row_.begin(), last_row_.end(), -1);
    choices_.resize(static_cast<size_t>(input.count * shape_.top_k));
    for (int64_t row = 0; row < input.count; ++row) {
      for (int j = 0; j < shape_.top_k; ++j) {
        const auto i = static_cast<size_t>(row * shape_.top_k + j);
        choices_[i] = map.choose(input.experts[i], input.first_token_index + row);
        const auto peer = static_cast<size_t>(choices_[i].rank);
        ++peers_[peer].pairs;
        if (last_row_[peer] != row) {
          last_row_[peer] = row;
          ++peers_[peer].rows;
        }
      }
    }
  }

  // Second pass: headers, pairs and rows, each row once for each rank.
  Status write_windows(const DispatchInput& input) {
    for (int peer = 0; peer < group_.size(); ++peer) {
      Peer& p = peers_[static_cast<size_t>(peer)];
      if (p.pairs == 0) continue;
      WS_ASSIGN(auto region, dispatch_->send_region(peer));
      p.region = region.data();
      const WindowHeader header{static_cast<uint32_t>(p.rows), static_cast<uint32_t>(p.pairs),
                                static_cast<uint32_t>(layout_.row_stride), 0};
      std::memcpy(p.region, &header, sizeof(header));
    }
    std::fill(last_row_.begin(), last_row_.end(), -1);
    const int64_t bytes = row_bytes(shape_.row_dtype, shape_.hidden);
    for (int64_t row = 0; row < input.count; ++row) {
      for (int j = 0; j < shape_.top_k; ++j) {
        const auto i = static_cast<size_t>(row * shape_.top_k + j);
        const auto peer = static_cast<size_t>(choices_[i].rank);
        Peer& p = peers_[peer];
        if (last_row_[peer] != row) {
          last_row_[peer] = row;
          std::memcpy(
              p.region + WindowLayout::rows_offset(p.pairs) + p.next_row++ * layout_.row_stride,
              input.rows + row * input.row_stride, static_cast<size_t>(bytes));
        }
        const WindowPair pair{static_cast<uint32_t>(p.next_row - 1),
                              static_cast<uint32_t>(choices_[i].local_slot)};
        std::memcpy(p.region + WindowLayout::pairs_offset() +
                        p.next_pair * static_cast<int64_t>(sizeof(pair)),
                    &pair, sizeof(pair));
        tickets_[i] = {choices_[i].rank, static_cast<uint32_t>(p.next_pair++)};
      }
    }
    return {};
  }

  Status malformed(int peer, const std::string& what) const {
    return failed(fmt::format("rank {} sent a malformed dispatch: {}", peer, what), "dispatch",
                  "check that all ranks run the same build");
  }

  // Checks what came before anything of it is used as an index.
  Status read_header(int peer, std::span<const std::byte> bytes, Peer& p) const {
    p.in = {};
    if (bytes.empty()) return {};
    if (bytes.size() < sizeof(WindowHeader)) return malformed(peer, "no header");
    std::memcpy(&p.in, bytes.data(), sizeof(WindowHeader));
    const WindowHeader h = p.in;
    if (h.rows > layout_.max_rows || h.pairs > layout_.max_pairs || h.rows > h.pairs ||
        h.row_stride != layout_.row_stride ||
        static_cast<int64_t>(bytes.size()) != layout_.used(h.rows, h.pairs)) {
      return malformed(peer,
                       fmt::format("{} rows, {} pairs in {} bytes", h.rows, h.pairs, bytes.size()));
    }
    p.in_pairs = reinterpret_cast<const WindowPair*>(bytes.data() + WindowLayout::pairs_offset());
    p.in_rows = bytes.data() + WindowLayout::rows_offset(h.pairs);
    for (uint32_t i = 0; i < h.pairs; ++i) {
      if (p.in_pairs[i].row >= h.rows ||
          p.in_pairs[i].local_slot >= static_cast<uint32_t>(local_slots_)) {
        return malformed(
            peer, fmt::format("row {}, slot {}", p.in_pairs[i].row, p.in_pairs[i].local_slot));
      }
    }
    return {};
  }

  // A counting sort by slot; ranks ascending, then the sender's order.
  Status sort_pairs() {
    for (int peer = 0; peer < group_.size(); ++peer) {
      Peer& p = peers_[static_cast<size_t>(peer)];
      if (p.in.pairs == 0) continue;
      WS_ASSIGN(auto region, combine_->send_region(peer));
      p.out_rows = reinterpret_cast<float*>(region.data());
      for (uint32_t i = 0; i < p.in.pairs; ++i) {
        const WindowPair pair = p.in_pairs[i];
        pairs_[static_cast<size_t>(slot_begin_[pair.local_slot]++)] = {
            p.in_rows + pair.row * layout_.row_stride, p.out_rows + i * shape_.hidden};
      }
    }
    // Each begin has moved to its slot's end, which is the next slot's begin: shift back.
    for (int s = local_slots_; s > 0; --s) {
      slot_begin_[static_cast<size_t>(s)] = slot_begin_[static_cast<size_t>(s) - 1];
    }
    slot_begin_[0] = 0;
    return {};
  }

  Group& group_;
  ExchangeShape shape_;
  WindowLayout layout_;
  std::unique_ptr<Channel> dispatch_, combine_;
  std::vector<Peer> peers_;
  std::vector<Ticket> tickets_;   // [max_rows][top_k]
  std::vector<SlotRef> choices_;  // [count][top_k]
  std::vector<int64_t> last_row_;
  std::vector<int64_t> slot_begin_;
  std::vector<ReceivedPair> pairs_;
  std::vector<const float*> output_rows_;  // [top_k]
  int local_slots_ = 0;
  int64_t count_ = 0;
  Progress place_;
};

}  // namespace

Expected<std::unique_ptr<Exchange>> make_exchange(Group& group, const ExchangeShape& shape) {
  const WindowLayout layout(shape);
  WS_ASSIGN(auto dispatch,
            group.open_channel(static_cast<size_t>(layout.dispatch_capacity()), "dispatch"));
  WS_ASSIGN(auto combine,
            group.open_channel(static_cast<size_t>(layout.combine_capacity()), "combine"));
  return std::make_unique<WindowExchange>(group, shape, std::move(dispatch), std::move(combine));
}

}  // namespace wingspan
