#include "ep/head_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/linear.h"

namespace wingspan {
namespace {

constexpr int64_t kColumns = int64_t{kGroup} * kPanel;  // that lie side by side in memory

int64_t first_column_of(int64_t vocab, int rank, int ranks) {
  const int64_t groups = (vocab + kColumns - 1) / kColumns;
  return std::min(vocab, groups * rank / ranks * kColumns);
}

}  // namespace

Expected<std::unique_ptr<HeadExchange>> HeadExchange::create(Group& group, const HeadShape& shape) {
  const int64_t groups = (shape.vocab + kColumns - 1) / kColumns;
  const int64_t most = (groups + group.size() - 1) / group.size() * kColumns;
  WS_ASSIGN(auto rows,
            group.open_channel(static_cast<size_t>(shape.max_rows * shape.row_bytes), "head rows"));
  WS_ASSIGN(auto logits, group.open_channel(
                             static_cast<size_t>(shape.max_rows * most) * sizeof(float), "logits"));
  return std::unique_ptr<HeadExchange>(
      new HeadExchange(group, shape, std::move(rows), std::move(logits)));
}

HeadExchange::HeadExchange(Group& group, const HeadShape& shape, std::unique_ptr<Channel> rows,
                           std::unique_ptr<Channel> logits)
    : group_(group),
      shape_(shape),
      rows_(std::move(rows)),
      logits_(std::move(logits)),
      counts_(static_cast<size_t>(group.size())) {
  places_.reserve(static_cast<size_t>(max_total_rows()));
}

int64_t HeadExchange::column_of(int rank) const {
  return first_column_of(shape_.vocab, rank, group_.size());
}

Expected<std::span<const std::byte* const>> HeadExchange::gather(int64_t step,
                                                                 const std::byte* rows,
                                                                 int64_t stride, int64_t count) {
  WS_CHECK(count <= shape_.max_rows, "rows {} > {}", count, shape_.max_rows);
  group_.set_progress({step, -1, "head"});
  const auto bytes = static_cast<size_t>(shape_.row_bytes);
  for (int peer = 0; peer < group_.size(); ++peer) {
    if (count > 0) {
      WS_ASSIGN(auto region, rows_->send_region(peer));
      for (int64_t r = 0; r < count; ++r) {
        std::memcpy(region.data() + static_cast<size_t>(r) * bytes, rows + r * stride, bytes);
      }
    }
    WS_RETURN_IF_ERROR(rows_->post(peer, static_cast<size_t>(count) * bytes));
  }
  places_.clear();
  for (int peer = 0; peer < group_.size(); ++peer) {
    WS_ASSIGN(auto received, rows_->wait(peer));
    const size_t there = received.size() / bytes;
    if (received.size() % bytes != 0 || there > static_cast<size_t>(shape_.max_rows)) {
      return failed(fmt::format("rank {} sent {} bytes of rows", peer, received.size()), "head",
                    "check that all ranks run the same build");
    }
    counts_[static_cast<size_t>(peer)] = static_cast<int64_t>(there);
    for (size_t r = 0; r < there; ++r) places_.push_back(received.data() + r * bytes);
  }
  return std::span<const std::byte* const>(places_);
}

Status HeadExchange::scatter(const float* part, float* out) {
  const int64_t own = columns();
  for (int peer = 0; peer < group_.size(); ++peer) {
    const int64_t floats = counts_[static_cast<size_t>(peer)] * own;
    const auto bytes = static_cast<size_t>(floats) * sizeof(float);
    if (floats > 0) {
      WS_ASSIGN(auto region, logits_->send_region(peer));
      std::memcpy(region.data(), part, bytes);
      part += floats;
    }
    WS_RETURN_IF_ERROR(logits_->post(peer, bytes));
  }
  WS_RETURN_IF_ERROR(rows_->finish());
  const int64_t count = counts_[static_cast<size_t>(group_.rank())];
  for (int peer = 0; count > 0 && peer < group_.size(); ++peer) {
    WS_ASSIGN(auto received, logits_->wait(peer));
    const int64_t first = column_of(peer), width = column_of(peer + 1) - first;
    if (static_cast<int64_t>(received.size()) != count * width * 4) {
      return failed(fmt::format("rank {} sent {} bytes of logits", peer, received.size()), "head",
                    "check that all ranks run the same build");
    }
    for (int64_t r = 0; r < count; ++r) {
      std::memcpy(out + r * shape_.vocab + first, received.data() + r * width * 4,
                  static_cast<size_t>(width) * sizeof(float));
    }
  }
  return logits_->finish();
}

}  // namespace wingspan
