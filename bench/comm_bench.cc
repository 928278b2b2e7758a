// Rounds of the loopback exchange: every rank posts a small message to every peer and waits for
// all.
#include <benchmark/benchmark.h>

#include <chrono>

#include "comm/loopback.h"

namespace wingspan {
namespace {

Status rounds(Group& group, int count) {
  WS_ASSIGN(auto channel, group.open_channel(256, "bench"));
  WS_RETURN_IF_ERROR(group.barrier());
  for (int i = 0; i < count; ++i) {
    for (int peer = 0; peer < group.size(); ++peer) {
      WS_ASSIGN(auto region, channel->send_region(peer));
      region[0] = static_cast<std::byte>(i);
      WS_RETURN_IF_ERROR(channel->post(peer, 64));
    }
    WS_RETURN_IF_ERROR(channel->wait_all());
    WS_RETURN_IF_ERROR(channel->finish());
  }
  return {};
}

void LoopbackRound(benchmark::State& state) {
  constexpr int kRounds = 500;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    const Status status = run_loopback(static_cast<int>(state.range(0)), {},
                                       [](Group& group) { return rounds(group, kRounds); });
    if (!status) state.SkipWithError(status.error().message().c_str());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    state.SetIterationTime(took.count() / kRounds);
  }
}
BENCHMARK(LoopbackRound)
    ->Arg(1)
    ->Arg(2)
    ->Arg(8)
    ->Arg(32)
    ->Arg(64)
    ->UseManualTime()
    ->Iterations(3)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace wingspan
