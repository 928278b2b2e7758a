// The promise: bit-identical ids and logits whatever the ranks, the placement, the threads, the
// batch and the prefill chunks; and that the suite would notice if it were broken.
#include <gtest/gtest.h>

#include <cstring>

#include "base/fault.h"
#include "base/rng.h"
#include "emulated/emulated.h"
#include "engine/run_model.h"
#include "engine/tiny_model.h"
#include "support/paths.h"

namespace wingspan::test {
namespace {

const std::string kWren = wren();

std::vector<Request> make_requests(int64_t vocab, const std::vector<int>& lengths,
                                   int64_t max_tokens, uint64_t seed) {
  Rng rng(seed);
  std::vector<Request> out;
  for (int length : lengths) {
    Request r;
    for (int i = 0; i < length; ++i) {
      r.prompt.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))));
    }
    r.max_tokens = max_tokens;
    // Half of the requests are sampled, each with its own seed.
    if (out.size() % 2 == 1) {
      r.sampling.temperature = 0.8;
      r.sampling.top_k = 40;
      r.sampling.top_p = 0.95;
      r.sampling.seed = 1000 + out.size();
    }
    out.push_back(std::move(r));
  }
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Ids, log probabilities and logits of request `a` of one run against request `b` of another; the
// number of differing rows.
int differing_rows(const Shown& want, int a, const Shown& got, int b) {
  const auto& x = want.report.results[static_cast<size_t>(a)];
  const auto& y = got.report.results[static_cast<size_t>(b)];
  int differing = x.output_ids != y.output_ids;
  differing += !same_bits(x.logprobs, y.logprobs);
  for (const auto& [key, row] : want.logits) {
    if (key.first != a) continue;
    const auto it = got.logits.find({b, key.second});
    differing += it == got.logits.end() || !same_bits(row, it->second);
  }
  return differing;
}

int differing_rows(const Shown& want, const Shown& got) {
  int differing = 0;
  for (size_t i = 0; i < want.report.results.size(); ++i) {
    differing += differing_rows(want, static_cast<int>(i), got, static_cast<int>(i));
  }
  return differing;
}

Shown must_run(const RunSpec& spec, const std::vector<Request>& requests) {
  auto shown = run_model(spec, requests);
  EXPECT_TRUE(shown) << shown.error().message();
  return shown ? *std::move(shown) : Shown{};
}

struct Subject {
  std::string name, directory;
  int64_t vocab;
  ComputeMode compute;
};

std::vector<Subject> subjects() {
  const auto tiny = [](const std::string& n, ComputeMode c) {
    return Subject{n + "_" + compute_mode_name(c), golden_path("models/" + n), 512, c};
  };
  return {
      {"wren_bf16", kWren, 4096, ComputeMode::kBF16}, {"wren_f32", kWren, 4096, ComputeMode::kF32},
      tiny("deepseek_v3", ComputeMode::kBF16),        tiny("deepseek_v2", ComputeMode::kF32),
      tiny("deepseek_v2_lite", ComputeMode::kBF16),   tiny("deepseek_v3_fp8", ComputeMode::kFP8),
      tiny("deepseek_v3_fp8", ComputeMode::kBF16)};
}

class Exactness : public ::testing::TestWithParam<Subject> {
 protected:
  RunSpec spec() const {
    RunSpec s;
    s.model = GetParam().directory;
    s.compute = GetParam().compute;
    s.capture.prompt_logits = true;
    return s;
  }
  std::vector<Request> requests() const {
    return make_requests(GetParam().vocab, {1, 9, 40, 70}, 6, 5);
  }
};

TEST_P(Exactness, RanksAndPlacements) {
  const auto want = must_run(spec(), requests());
  for (int ranks : {1, 2, 3, 5, 8, 32}) {
    for (PlacementKind kind :
         {PlacementKind::kContiguous, PlacementKind::kShuffled, PlacementKind::kReplicated}) {
      RunSpec s = spec();
      s.ranks = ranks;
      s.placement = kind;
      EXPECT_EQ(differing_rows(want, must_run(s, requests())), 0)
          << ranks << " ranks, placement " << static_cast<int>(kind);
    }
  }
}

TEST_P(Exactness, ThreadsAndKernelKinds) {
  const auto want = must_run(spec(), requests());
  for (int threads : {2, 4}) {
    RunSpec s = spec();
    s.threads_per_rank = threads;
    s.ranks = threads == 4 ? 2 : 1;
    EXPECT_EQ(differing_rows(want, must_run(s, requests())), 0) << threads << " threads";
  }
  for (const std::string& kernel : kernel_names()) {
    RunSpec s = spec();
    s.kernel = kernel;
    EXPECT_EQ(differing_rows(want, must_run(s, requests())), 0) << kernel;
  }
}

// The avx512 kernels in the whole engine, also where the CPU lacks their instructions.
TEST_P(Exactness, EmulatedAvx512GivesTheBitsOfPortable) {
  if (emulated_avx512() == nullptr) GTEST_SKIP() << "this build or CPU can't emulate";
  const auto want = must_run(spec(), requests());
  for (int ranks : {1, 3}) {
    RunSpec s = spec();
    s.kernels = emulated_avx512();
    s.ranks = ranks;
    s.placement = PlacementKind::kReplicated;
    EXPECT_EQ(differing_rows(want, must_run(s, requests())), 0) << ranks << " ranks";
  }
}

TEST_P(Exactness, PrefillChunksAndBatchComposition) {
  const auto all = requests();
  const auto want = must_run(spec(), all);
  for (int64_t chunk : {1, 7, 64}) {
    RunSpec s = spec();
    s.prefill_chunk = chunk;
    s.ranks = 2;
    EXPECT_EQ(differing_rows(want, must_run(s, all)), 0) << "chunk " << chunk;
  }
  for (size_t i = 0; i < all.size(); ++i) {
    const auto alone = must_run(spec(), {all[i]});
    EXPECT_EQ(differing_rows(want, static_cast<int>(i), alone, 0), 0) << "alone: " << i;
  }
  std::vector<Request> reversed(all.rbegin(), all.rend());
  const auto other_order = must_run(spec(), reversed);
  const int last = static_cast<int>(all.size()) - 1;
  for (int i = 0; i <= last; ++i) {
    EXPECT_EQ(differing_rows(want, i, other_order, last - i), 0) << "reversed: " << i;
  }
  RunSpec few = spec();
  few.max_sequences_per_rank = 1;
  EXPECT_EQ(differing_rows(want, must_run(few, all)), 0) << "one sequence at a time";
}

// Scoring prompt + output gives, bit for bit, the log probabilities that generating reported.
TEST_P(Exactness, ScoringGivesTheBitsOfGenerating) {
  const auto all = requests();
  const auto generated = must_run(spec(), all);
  std::vector<Request> scored;
  for (size_t i = 0; i < all.size(); ++i) {
    Request r;
    r.prompt = all[i].prompt;
    const auto& out = generated.report.results[i].output_ids;
    r.prompt.insert(r.prompt.end(), out.begin(), out.end());
    r.score = true;
    scored.push_back(std::move(r));
  }
  RunSpec s = spec();
  s.ranks = 3;
  s.prefill_chunk = 13;
  const auto shown = must_run(s, scored);
  for (size_t i = 0; i < all.size(); ++i) {
    const auto& logprobs = shown.report.results[i].prompt_logprobs;
    const auto& want = generated.report.results[i].logprobs;
    const std::vector<float> tail(logprobs.end() - static_cast<int64_t>(want.size()),
                                  logprobs.end());
    EXPECT_TRUE(same_bits(tail, want)) << "request " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Exactness, ::testing::ValuesIn(subjects()),
                         [](const auto& i) { return i.param.name; });

TEST(Exactness64, SixtyFourRanksGiveTheBitsOfOne) {
  RunSpec s;
  s.model = kWren;
  s.compute = ComputeMode::kBF16;
  s.capture.prompt_logits = true;
  const auto requests = make_requests(4096, {5, 30}, 4, 9);
  const auto want = must_run(s, requests);
  s.ranks = 64;
  for (PlacementKind kind : {PlacementKind::kContiguous, PlacementKind::kReplicated}) {
    s.placement = kind;
    EXPECT_EQ(differing_rows(want, must_run(s, requests)), 0);
  }
}

// Each deliberate fault must show as differing bits between the one-rank run and a run that an
// honest engine would have made identical.
class Teeth : public ::testing::TestWithParam<Fault> {};

TEST_P(Teeth, TheSuiteNoticesTheFault) {
  RunSpec s;
  TinyModel tiny;
  // Experts tie in pairs, so an odd top-k has to leave one of a pair out.
  tiny.tied_router_rows = GetParam() == Fault::kTiesToHighestIndex;
  tiny.top_k = tiny.tied_router_rows ? 3 : 4;
  s.model = write_tiny_model(tiny);
  s.compute = ComputeMode::kF32;  // BF16 inputs would round most differences of one bit away again
  s.capture.prompt_logits = true;
  const auto requests = make_requests(64, {40, 33}, 4, 3);
  const auto want = must_run(s, requests);
  RunSpec other = s;
  other.ranks = 3;
  other.placement = PlacementKind::kReplicated;
  other.prefill_chunk = 7;
  ASSERT_EQ(differing_rows(want, must_run(other, requests)), 0);
  const ScopedFault fault(GetParam());
  EXPECT_GT(differing_rows(want, must_run(other, requests)), 0);
}

std::string fault_name(const ::testing::TestParamInfo<Fault>& info) {
  constexpr const char* kNames[] = {"None",           "SumPerRank",     "SwapTwoAddends",
                                    "TiesToHighest",  "ScaleOverBatch", "FlipReplicaBit",
                                    "ChunkByRowCount"};
  return kNames[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Faults, Teeth,
                         ::testing::Values(Fault::kSumPerRankBeforeCombine, Fault::kSwapTwoAddends,
                                           Fault::kTiesToHighestIndex, Fault::kScaleOverBatch,
                                           Fault::kFlipReplicaBit, Fault::kChunkByRowCount),
                         fault_name);

}  // namespace
}  // namespace wingspan::test
