#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "ep/exchange.h"

namespace wingspan {
namespace {

// Every rank sends [count] {row, top_k × (rank, slot)} to every rank; outputs travel as one float
// row for each (token, position), whether that rank computed it or not.
class EveryoneToEveryone final : public Exchange {
 public:
  EveryoneToEveryone(Group& group, const ExchangeShape& shape, std::unique_ptr<Channel> there,
                     std::unique_ptr<Channel> back)
      : group_(group),
        shape_(shape),
        row_bytes_((row_bytes(shape.row_dtype, shape.hidden) + 63) / 64 * 64),
        there_(std::move(there)),
        back_(std::move(back)) {}

  int64_t record_bytes() const { return record_bytes(shape_, row_bytes_); }
  static int64_t record_bytes(const ExchangeShape& shape, int64_t row) {
    const auto choices = shape.top_k * static_cast<int64_t>(sizeof(SlotRef));
    return row + (choices + 63) / 64 * 64;
  }

  void set_place(int64_t step, int layer) override { place_ = {step, layer, "dispatch"}; }

  Status dispatch(const SlotMap& map, const DispatchInput& input) override {
    place_.exchange = "dispatch";
    group_.set_progress(place_);
    local_slots_ = map.local_slots();
    choices_.clear();
    for (int64_t i = 0; i < input.count * shape_.top_k; ++i) {
      choices_.push_back(map.choose(input.experts[i], input.first_token_index + i / shape_.top_k));
    }
    for (int peer = 0; peer < group_.size(); ++peer) {
      WS_ASSIGN(auto region, there_->send_region(peer));
      for (int64_t row = 0; row < input.count; ++row) {
        std::byte* record = region.data() + row * record_bytes();
        std::memcpy(record, input.rows + row * input.row_stride,
                    static_cast<size_t>(row_bytes(shape_.row_dtype, shape_.hidden)));
        std::memcpy(record + row_bytes_, &choices_[static_cast<size_t>(row * shape_.top_k)],
                    static_cast<size_t>(shape_.top_k) * sizeof(SlotRef));
      }
      WS_RETURN_IF_ERROR(there_->post(peer, static_cast<size_t>(input.count * record_bytes())));
    }
    count_ = input.count;
    return {};
  }

  Expected<ReceivedRows> receive() override {
    std::vector<std::vector<ReceivedPair>> by_slot(static_cast<size_t>(local_slots_));
    output_bytes_.assign(static_cast<size_t>(group_.size()), 0);
    for (int peer = 0; peer < group_.size(); ++peer) {
      WS_ASSIGN(auto bytes, there_->wait(peer));
      WS_ASSIGN(auto region, back_->send_region(peer));
      auto* outputs = reinterpret_cast<float*>(region.data());
      const int64_t rows = static_cast<int64_t>(bytes.size()) / record_bytes();
      for (int64_t i = 0; i < rows * shape_.top_k; ++i) {
        const std::byte* record = bytes.data() + i / shape_.top_k * record_bytes();
        SlotRef slot;
        std::memcpy(&slot, record + row_bytes_ + i % shape_.top_k * int64_t{sizeof(SlotRef)},
                    sizeof(slot));
        if (slot.rank != group_.rank()) continue;
        by_slot[static_cast<size_t>(slot.local_slot)].push_back(
            {record, outputs + i * shape_.hidden});
      }
      output_bytes_[static_cast<size_t>(peer)] =
          static_cast<size_t>(rows * shape_.top_k * shape_.hidden) * sizeof(float);
    }
    begin_.assign(1, 0);
    pairs_.clear();
    for (const auto& slot : by_slot) {
      pairs_.insert(pairs_.end(), slot.begin(), slot.end());
      begin_.push_back(static_cast<int64_t>(pairs_.size()));
    }
    return ReceivedRows{begin_, pairs_};
  }

  Status send_outputs() override {
    for (int peer = 0; peer < group_.size(); ++peer) {
      WS_RETURN_IF_ERROR(back_->post(peer, output_bytes_[static_cast<size_t>(peer)]));
    }
    return there_->finish();
  }

  Status combine(const Kernels& kernels, const float* weights, float* out,
                 int64_t out_stride) override {
    place_.exchange = "combine";
    group_.set_progress(place_);
    std::vector<const float*> from(static_cast<size_t>(group_.size()));
    for (int peer = 0; peer < group_.size(); ++peer) {
      WS_ASSIGN(auto bytes, back_->wait(peer));
      from[static_cast<size_t>(peer)] = reinterpret_cast<const float*>(bytes.data());
    }
    std::vector<const float*> rows(static_cast<size_t>(shape_.top_k));
    for (int64_t row = 0; row < count_; ++row) {
      for (int j = 0; j < shape_.top_k; ++j) {
        const int64_t i = row * shape_.top_k + j;
        rows[static_cast<size_t>(j)] =
            from[static_cast<size_t>(choices_[static_cast<size_t>(i)].rank)] + i * shape_.hidden;
      }
      kernels.combine(rows.data(), weights + row * shape_.top_k, shape_.top_k, shape_.hidden,
                      out + row * out_stride);
    }
    return back_->finish();
  }

 private:
  Group& group_;
  ExchangeShape shape_;
  int64_t row_bytes_;
  std::unique_ptr<Channel> there_, back_;
  std::vector<SlotRef> choices_;
  std::vector<size_t> output_bytes_;
  std::vector<int64_t> begin_;
  std::vector<ReceivedPair> pairs_;
  int local_slots_ = 0;
  int64_t count_ = 0;
  Progress place_;
};

}  // namespace

Expected<std::unique_ptr<Exchange>> make_exchange_ref(Group& group, const ExchangeShape& shape) {
  const int64_t row = (row_bytes(shape.row_dtype, shape.hidden) + 63) / 64 * 64;
  WS_ASSIGN(auto there,
            group.open_channel(
                static_cast<size_t>(shape.max_rows * EveryoneToEveryone::record_bytes(shape, row)),
                "dispatch"));
  WS_ASSIGN(auto back,
            group.open_channel(
                static_cast<size_t>(shape.max_rows * shape.top_k * shape.hidden) * sizeof(float),
                "combine"));
  return std::make_unique<EveryoneToEveryone>(group, shape, std::move(there), std::move(back));
}

}  // namespace wingspan
