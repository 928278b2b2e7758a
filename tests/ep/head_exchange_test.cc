// Rows reach all ranks, and each row's logits come home whole and in place.
#include "ep/head_exchange.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/rng.h"
#include "comm/loopback.h"

namespace wingspan {
namespace {

// A number that names its row and column.
float logit_of(uint64_t row, int64_t column) {
  return static_cast<float>(row * 1000 + static_cast<uint64_t>(column));
}

Status run_rounds(Group& group, uint64_t seed, int64_t vocab) {
  constexpr int64_t kRows = 3;
  constexpr int64_t kStride = 24;  // rows of 8 bytes
  WS_ASSIGN(auto head, HeadExchange::create(group, {kRows, sizeof(uint64_t), vocab}));
  for (uint64_t round = 0; round < 5; ++round) {
    Rng rng(seed * 1000 + round * 100 + static_cast<uint64_t>(group.rank()));
    const auto count = static_cast<int64_t>(rng.below(kRows + 1));
    std::vector<std::byte> rows(kRows * kStride);
    std::vector<uint64_t> names;
    for (int64_t r = 0; r < count; ++r) {
      names.push_back(rng.below(1000));
      std::memcpy(rows.data() + r * kStride, &names.back(), sizeof(uint64_t));
    }
    WS_ASSIGN(auto all, head->gather(static_cast<int64_t>(round), rows.data(), kStride, count));
    std::vector<float> part(static_cast<size_t>(head->max_total_rows() * head->columns()), -1);
    for (size_t r = 0; r < all.size(); ++r) {
      uint64_t name = 0;
      std::memcpy(&name, all[r], sizeof name);
      for (int64_t c = 0; c < head->columns(); ++c) {
        part[r * static_cast<size_t>(head->columns()) + static_cast<size_t>(c)] =
            logit_of(name, head->first_column() + c);
      }
    }
    std::vector<float> logits(static_cast<size_t>(kRows * vocab), -1);
    WS_RETURN_IF_ERROR(head->scatter(part.data(), logits.data()));
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t c = 0; c < vocab; ++c) {
        const float want = logit_of(names[static_cast<size_t>(r)], c);
        if (logits[static_cast<size_t>(r * vocab + c)] != want) return failed("another logit");
      }
    }
  }
  return {};
}

TEST(HeadExchange, EveryRowGetsAllItsLogits) {
  for (uint64_t seed = 1; seed < 13; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    const auto vocab = static_cast<int64_t>(1 + rng.below(900));
    const int ranks = 1 + static_cast<int>(rng.below(seed % 4 == 0 ? 40 : 7));
    const Status status =
        run_loopback(ranks, {}, [&](Group& group) { return run_rounds(group, seed, vocab); });
    EXPECT_TRUE(status) << status.error().message() << ", " << ranks << " ranks, " << vocab;
  }
}

}  // namespace
}  // namespace wingspan
