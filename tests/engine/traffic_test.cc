// An answer's bits under traffic: alone, among neighbours, preempted, from the prefix cache, in
// chunks, at any width; and orders that travel in pieces.
#include "engine/traffic.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/order_stream.h"
#include "engine/tiny_model.h"
#include "support/paths.h"
#include "support/rounds.h"

namespace wingspan::test {
namespace {

Request needle(int64_t prompt_tokens, int64_t vocab, double temperature) {
  Request r;
  Rng rng(99);
  for (int64_t i = 0; i < prompt_tokens; ++i) {
    r.prompt.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))));
  }
  r.max_tokens = 80;
  r.hash_logits = true;
  r.sampling.temperature = temperature;
  r.sampling.seed = 5;
  r.sampling.frequency_penalty = 0.3;
  return r;
}

Answered alone(const std::string& model, const Request& request) {
  TrafficSpec spec;
  spec.model = model;
  auto result = run_traffic(spec, request);
  EXPECT_TRUE(result) << result.error().message();
  return result ? result->needles[0] : Answered{};
}

TEST(Traffic, TheAnswerIsTheSameInAnyCompany) {
  for (const double temperature : {0.9}) {
    const Request request = needle(130, 4096, temperature);
    const Answered reference = alone(wren(), request);
    ASSERT_EQ(reference.ids.size(), 80U);
    int64_t preemptions = 0, hits = 0, cancelled = 0;
    for (int seed = 0; seed < rounds(5); ++seed) {
      Rng rng(static_cast<uint64_t>(seed), 3);
      TrafficSpec spec;
      spec.model = wren();
      spec.seed = static_cast<uint64_t>(seed);
      spec.ranks = static_cast<int>(std::vector<int>{1, 1, 2, 4}[rng.below(4)]);
      spec.placement = rng.below(2) == 0 ? PlacementKind::kReplicated : PlacementKind::kShuffled;
      spec.chunk = static_cast<int64_t>(std::vector<int>{1, 7, 64, 200}[rng.below(4)]);
      // Room for little more than the needle: others push it out.
      spec.kv_tokens = 64 * (5 + static_cast<int64_t>(rng.below(2)));
      spec.audit_every = rng.below(3) == 0 ? 1 : 0;
      spec.neighbours = 16;
      spec.needles = 2;
      SCOPED_TRACE(fmt::format("seed {}, ep {}, chunk {}", seed, spec.ranks, spec.chunk));
      const auto result = run_traffic(spec, request);
      ASSERT_TRUE(result) << result.error().message();
      for (const Answered& got : result->needles) EXPECT_TRUE(got == reference);
      preemptions += result->preemptions;
      hits += result->cache_hits;
      cancelled += result->cancelled;
    }
    // A sanitized build has too few rounds to see everything.
    if (kSanitized) continue;
    EXPECT_GT(preemptions, 0);
    EXPECT_GT(hits, 0);
    EXPECT_GT(cancelled, 0);
  }
}

// Prompts of every length around the edges of blocks, each twice: the second from the cache.
TEST(Traffic, APrefixHitOfAnyLengthChangesNoBit) {
  for (const int64_t tokens : {1, 63, 64, 65, 127, 128, 129, 200}) {
    const Request request = needle(tokens, 4096, 0);
    TrafficSpec spec;
    spec.model = wren();
    spec.needles = 2;
    const auto result = run_traffic(spec, request);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(result->needles[0] == result->needles[1]) << tokens;
    EXPECT_EQ(result->needles[0].cached_tokens, 0);
    EXPECT_EQ(result->needles[1].cached_tokens, (tokens - 1) / 64 * 64);
  }
}

TEST(Traffic, EveryStepComputedTwiceIsTheSame) {
  TrafficSpec spec;
  spec.model = wren();
  spec.ranks = 4;
  spec.neighbours = 10;
  spec.audit_every = 1;
  const Request request = needle(70, 4096, 0.5);
  const auto result = run_traffic(spec, request);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_TRUE(result->needles[0] == alone(wren(), request));
}

TEST(Traffic, ARowThatIsNotFiniteEndsItsRequestAloneAndSaysWhere) {
  // Finite weights whose products overflow for one token of the vocabulary only.
  const std::string directory = write_tiny_model({.hot_token = 7});
  Request bad, good;
  bad.prompt = {1, 2, 7, 3};
  bad.max_tokens = good.max_tokens = 8;
  good.prompt = {1, 2, 3};
  auto config = read_model_config(real_files(), directory);
  std::shared_ptr<const WeightSource> source = *open_checkpoint_source(real_files(), directory);
  auto host = load_model_host(*config, source, ComputeMode::kF32, 1, nullptr);
  ASSERT_TRUE(host) << host.error().message();
  for (const int ranks : {1, 2}) {
    EngineOptions options;
    options.kernels = *choose_kernels("portable");
    options.kv_tokens_per_rank = 512;
    const Placement placement = make_placement(*config, ranks, PlacementKind::kContiguous);
    std::string what;
    Answered neighbour, lonely;
    const Status status = run_loopback(ranks, {}, [&](Group& group) -> Status {
      WS_ASSIGN(auto engine, Engine::create(group, *host, placement, options, nullptr));
      struct Two final : OrderSource {
        std::vector<Submit> adds;
        void next(Orders& orders, bool idle) override {
          std::swap(orders.add, adds);
          orders.stop = orders.add.empty() && idle;
        }
      };
      const auto run = [&](std::vector<Submit> adds, Answered& answer) -> Status {
        RunSink silent;
        WS_ASSIGN(auto steps, engine->start({}, silent));
        Two two;
        two.adds = std::move(adds);
        for (;;) {
          WS_ASSIGN(const StepReport* report, steps->step(&two));
          if (group.rank() == 0) {
            for (const TokenEvent& e : report->tokens) {
              EXPECT_EQ(e.id, 2);
              answer.ids.push_back(e.token);
              answer.logprobs.push_back(e.logprob);
            }
            for (const EndEvent& e : report->ended) {
              EXPECT_EQ(e.reason, FinishReason::kNotFinite);
              what = e.what;
            }
          }
          if (report->last) return {};
        }
      };
      WS_RETURN_IF_ERROR(run({{1, bad}, {2, good}}, neighbour));
      return run({{2, good}}, lonely);
    });
    ASSERT_TRUE(status) << status.error().message();
    EXPECT_NE(what.find("position 2"), std::string::npos) << what;
    EXPECT_NE(what.find("not finite"), std::string::npos) << what;
    EXPECT_EQ(neighbour.ids.size(), 8U);
    EXPECT_TRUE(neighbour == lonely);
  }
}

TEST(Orders, ComeOutOfPiecesAsTheyWentIn) {
  Rng rng(3);
  for (int round = 0; round < rounds(200); ++round) {
    SCOPED_TRACE(round);
    Orders orders;
    for (uint64_t i = 0, n = rng.below(4); i < n; ++i) {
      Submit s;
      s.id = static_cast<RequestId>(rng.next() >> 1);
      s.request.prompt.resize(1 + rng.below(3000), static_cast<int32_t>(i));
      s.request.max_tokens = static_cast<int64_t>(rng.below(100));
      s.request.sampling.temperature = rng.uniform();
      s.request.sampling.logit_bias = {{3, 1.5F}, {7, -2.0F}};
      s.request.stop_ids = {1, 2};
      s.request.score = rng.below(2) == 0;
      s.request.priority = -4;
      orders.add.push_back(std::move(s));
    }
    orders.cancel.resize(rng.below(5), 17);
    orders.prompt_rows = static_cast<int64_t>(rng.below(9)) - 1;
    orders.stop = rng.below(2) == 0;
    OrderSender sender;
    OrderReceiver receiver;
    sender.start(orders);
    bool complete = orders.empty();
    while (sender.sending()) {
      const auto piece = sender.take(1 + rng.below(5000));
      const auto added = receiver.add(piece, sender.sending());
      ASSERT_TRUE(added) << added.error().message();
      EXPECT_EQ(*added, !sender.sending());
      complete = *added;
    }
    ASSERT_TRUE(complete);
    if (!orders.empty()) {
      EXPECT_EQ(write_orders(receiver.take()), write_orders(orders));
    }
  }
}

TEST(Orders, DamageIsAnErrorAndNoCrash) {
  Orders orders;
  orders.add.push_back({4, needle(20, 100, 1)});
  orders.cancel = {1, 2, 3};
  const std::vector<std::byte> whole = write_orders(orders);
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    EXPECT_FALSE(read_orders(std::span(whole).first(cut))) << cut;
  }
  Rng rng(8);
  for (int round = 0; round < rounds(2000); ++round) {
    std::vector<std::byte> damaged = whole;
    damaged[rng.below(damaged.size())] ^= static_cast<std::byte>(1 + rng.below(255));
    static_cast<void>(read_orders(damaged));
  }
}

}  // namespace
}  // namespace wingspan::test
