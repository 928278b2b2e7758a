// The fast exchange against the obvious one and against a sum made in one place, under random and
// hostile routing, over loopback ranks.
#include "ep/exchange.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "base/fault.h"
#include "base/rng.h"
#include "comm/loopback.h"

namespace wingspan {
namespace {

constexpr int kLayer = 3;

// How a test chooses the tokens and experts of each rank.
enum class Routing { kRandom, kSkewed, kOneExpert, kSomeRanksEmpty, kNoTokens, kOneToken };

struct Case {
  int experts, ranks, redundant, top_k, hidden, max_rows;
  DType dtype;
  Routing routing;
};

struct RankInput {
  std::vector<float> x;          // [count][hidden]
  std::vector<int32_t> experts;  // [count][top_k]
  std::vector<float> weights;    // [count][top_k]
  int64_t count = 0;
};

RankInput make_input(const Case& c, int rank, uint64_t seed) {
  Rng rng(seed, static_cast<uint64_t>(rank));
  RankInput in;
  in.count = static_cast<int64_t>(rng.below(static_cast<uint64_t>(c.max_rows) + 1));
  if (c.routing == Routing::kSomeRanksEmpty && rank % 2 == 0) in.count = 0;
  if (c.routing == Routing::kNoTokens) in.count = 0;
  if (c.routing == Routing::kOneToken) in.count = rank == c.ranks - 1 ? 1 : 0;
  for (int64_t i = 0; i < in.count * c.hidden; ++i) {
    in.x.push_back(static_cast<float>(rng.normal()));
  }
  std::vector<int32_t> order(static_cast<size_t>(c.experts));
  for (int64_t t = 0; t < in.count; ++t) {
    std::iota(order.begin(), order.end(), 0);
    for (int j = 0; j < c.top_k; ++j) {
      const auto left = static_cast<uint64_t>(c.experts - j);
      auto pick = rng.below(left);
      if (c.routing == Routing::kSkewed) pick = std::min(pick, rng.below(left));
      if (c.routing == Routing::kOneExpert) pick = 0;
      std::swap(order[static_cast<size_t>(j)], order[static_cast<size_t>(j) + pick]);
      in.experts.push_back(order[static_cast<size_t>(j)]);
      in.weights.push_back(static_cast<float>(rng.uniform()));
    }
  }
  return in;
}

// The stand-in for an expert: depends on the expert, the row and the column, and rounds.
float expert_output(int expert, float x, int column) {
  return std::sin(x * static_cast<float>(expert + 1)) + static_cast<float>(column) * 0.37F;
}

float row_value(DType dtype, const std::byte* row, int64_t hidden, int64_t column) {
  const Rows r = packed_rows(dtype, row, row_bytes(dtype, hidden), 1, hidden);
  if (dtype == DType::kF32) return reinterpret_cast<const float*>(r.data)[column];
  if (dtype == DType::kBF16) {
    return bf16_to_f32(reinterpret_cast<const uint16_t*>(r.data)[column]);
  }
  return e4m3_to_f32(reinterpret_cast<const uint8_t*>(r.data)[column]) *
         r.scales[column / kFp8Block];
}

// One layer on one rank through `exchange`.
Status run_layer(Exchange& exchange, const Case& c, const Placement& placement, int rank,
                 const RankInput& in, std::vector<float>& out) {
  auto kernels = choose_kernels("reference");
  if (!kernels) return Unexpected(kernels.error());
  const LayerPlacement& layer = placement.layers[0];
  const SlotMap map(placement.topology, layer, rank);
  const int64_t stride = (row_bytes(c.dtype, c.hidden) + 63) / 64 * 64;
  std::vector<std::byte> rows(static_cast<size_t>(stride * std::max<int64_t>(in.count, 1)));
  pack_rows(c.dtype, in.x.data(), c.hidden, in.count, c.hidden, rows.data(), stride);
  exchange.set_place(1, kLayer);
  WS_RETURN_IF_ERROR(
      exchange.dispatch(map, {rows.data(), stride, in.count, in.experts.data(), rank}));
  WS_ASSIGN(const ReceivedRows received, exchange.receive());
  const int first = placement.topology.first_slot(rank);
  for (size_t s = 0; s + 1 < received.begin.size(); ++s) {
    const int expert = layer.slot_to_expert[static_cast<size_t>(first) + s];
    for (int64_t p = received.begin[s]; p < received.begin[s + 1]; ++p) {
      const ReceivedPair& pair = received.pairs[static_cast<size_t>(p)];
      for (int col = 0; col < c.hidden; ++col) {
        pair.output[col] = expert_output(expert, row_value(c.dtype, pair.row, c.hidden, col), col);
      }
    }
  }
  WS_RETURN_IF_ERROR(exchange.send_outputs());
  out.assign(static_cast<size_t>(in.count * c.hidden), -1.0F);
  return exchange.combine(**kernels, in.weights.data(), out.data(), c.hidden);
}

// The same in one place: no ranks, no slots.
std::vector<float> expected(const Case& c, const RankInput& in) {
  std::vector<float> out;
  const int64_t stride = row_bytes(c.dtype, c.hidden);
  std::vector<std::byte> row(static_cast<size_t>(stride));
  for (int64_t t = 0; t < in.count; ++t) {
    pack_rows(c.dtype, in.x.data() + t * c.hidden, c.hidden, 1, c.hidden, row.data(), stride);
    for (int col = 0; col < c.hidden; ++col) {
      float sum = 0;
      for (int j = 0; j < c.top_k; ++j) {
        const auto i = static_cast<size_t>(t * c.top_k + j);
        sum = std::fma(
            in.weights[i],
            expert_output(in.experts[i], row_value(c.dtype, row.data(), c.hidden, col), col), sum);
      }
      out.push_back(sum);
    }
  }
  return out;
}

void check_case(const Case& c, const Placement& placement, uint64_t seed, bool reference) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed << " experts " << c.experts << " ranks "
                                    << c.ranks << " redundant " << c.redundant);
  std::vector<std::vector<float>> got(static_cast<size_t>(c.ranks));
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) got.assign(got.size(), {});
  std::vector<std::vector<float>> want(static_cast<size_t>(c.ranks));
  std::vector<int> wrong(static_cast<size_t>(c.ranks));
  const auto body = [&](Group& group) -> Status {
    ExchangeShape shape{c.hidden, c.dtype, c.top_k, c.max_rows, 0};
    for (int s : placement.topology.rank_slots) {
      shape.max_local_slots = std::max(shape.max_local_slots, s);
    }
    WS_ASSIGN(auto exchange,
              reference ? make_exchange_ref(group, shape) : make_exchange(group, shape));
    const auto rank = static_cast<size_t>(group.rank());
    for (int round = 0; round < kRounds; ++round) {
      const RankInput in =
          make_input(c, group.rank(), seed * kRounds + static_cast<uint64_t>(round));
      std::vector<float> out;
      WS_RETURN_IF_ERROR(run_layer(*exchange, c, placement, group.rank(), in, out));
      const auto want_rows = expected(c, in);
      if (out.size() != want_rows.size() ||
          (!out.empty() &&
           std::memcmp(out.data(), want_rows.data(), out.size() * sizeof(float)) != 0)) {
        ++wrong[rank];
      }
    }
    return {};
  };
  const Status status = run_loopback(c.ranks, {}, body);
  ASSERT_TRUE(status) << status.error().message();
  for (int r = 0; r < c.ranks; ++r) EXPECT_EQ(wrong[static_cast<size_t>(r)], 0) << "rank " << r;
}

TEST(Exchange, RandomShapesMatchASumMadeInOnePlace) {
  const uint64_t base = 20261124;
  for (uint64_t seed = base; seed < base + 60; ++seed) {
    Rng rng(seed);
    Case c;
    c.experts = 1 + static_cast<int>(rng.below(40));
    c.ranks = 1 + static_cast<int>(rng.below(9));
    c.redundant = static_cast<int>(rng.below(6));
    c.top_k = 1 + static_cast<int>(rng.below(static_cast<uint64_t>(std::min(c.experts, 8))));
    c.hidden = 1 + static_cast<int>(rng.below(150));
    c.max_rows = 1 + static_cast<int>(rng.below(20));
    constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF8E4M3};
    c.dtype = kTypes[rng.below(3)];
    c.routing = static_cast<Routing>(rng.below(6));
    const Placement placement =
        rng.below(2) == 0 ? contiguous_placement(c.experts, {kLayer}, c.ranks, c.redundant)
                          : shuffled_placement(c.experts, {kLayer}, c.ranks, seed, c.redundant);
    check_case(c, placement, seed, false);
    check_case(c, placement, seed, true);
  }
}

TEST(Exchange, MoreRanksThanExpertsAndSixtyFourRanks) {
  Case c{5, 64, 0, 3, 33, 4, DType::kBF16, Routing::kRandom};
  check_case(c, contiguous_placement(5, {kLayer}, 64), 7, false);
  c.experts = 256;
  c.top_k = 8;
  check_case(c, contiguous_placement(256, {kLayer}, 64, 32), 8, false);
}

TEST(Exchange, ARowTravelsAtMostOnceToEachRank) {
  // All experts on one rank: with top-8 a rank that sent a row for each expert would need 8 times
  // the window.
  const Case c{8, 2, 0, 8, 64, 16, DType::kF32, Routing::kRandom};
  Placement all_on_one = contiguous_placement(8, {kLayer}, 2);
  all_on_one.topology.rank_slots = {0, 8};
  check_case(c, all_on_one, 3, false);
}

TEST(Exchange, ReplicasAreSharedEvenlyAndOwnSlotsComeFirst) {
  Topology topology;
  topology.experts = 2;
  topology.rank_slots = {1, 1, 1, 1};
  const LayerPlacement layer{kLayer, {0, 1, 1, 1}};
  const SlotMap from_zero(topology, layer, 0);
  int uses[4] = {};
  for (int t = 0; t < 300; ++t) ++uses[from_zero.choose(1, t).rank];
  EXPECT_EQ(uses[1], 100);
  EXPECT_EQ(uses[2], 100);
  EXPECT_EQ(uses[3], 100);
  const SlotMap from_two(topology, layer, 2);
  for (int t = 0; t < 10; ++t) EXPECT_EQ(from_two.choose(1, t).rank, 2);
}

TEST(Exchange, TheFaultsOfTheExactnessSuiteChangeBits) {
  const Case c{16, 3, 0, 6, 64, 12, DType::kF32, Routing::kRandom};
  const Placement placement = contiguous_placement(16, {kLayer}, 3);
  for (Fault fault : {Fault::kSumPerRankBeforeCombine, Fault::kSwapTwoAddends}) {
    std::atomic<int> differing{0};
    const ScopedFault scoped(fault);
    const Status status = run_loopback(3, {}, [&](Group& group) -> Status {
      WS_ASSIGN(auto exchange, make_exchange(group, {c.hidden, c.dtype, c.top_k, c.max_rows, 6}));
      const RankInput in = make_input(c, group.rank(), 11);
      std::vector<float> out;
      WS_RETURN_IF_ERROR(run_layer(*exchange, c, placement, group.rank(), in, out));
      const auto want = expected(c, in);
      for (size_t i = 0; i < out.size(); ++i) differing += out[i] != want[i];
      return {};
    });
    ASSERT_TRUE(status) << status.error().message();
    EXPECT_GT(differing.load(), 0);
  }
}

}  // namespace
}  // namespace wingspan
