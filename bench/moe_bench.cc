// An MoE layer's expert products with cold weights, through GroupGemm with the rank's threads,
// beside the limit: the larger of weight bytes ÷ read bandwidth and operations ÷ peak, from probes
// of the same round. Tokens choose 8 distinct experts at random, new ones in each round.
#include <algorithm>
#include <cstring>
#include <functional>
#include <map>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/fpmode.h"
#include "base/rng.h"
#include "kernels/machine_probe.h"
#include "model/group_gemm.h"
#include "support/measure.h"

namespace wingspan::bench {
namespace {

constexpr int kTopK = 8;

struct Shape {
  const char* name;
  int experts;
  int64_t hidden, width;
};
constexpr Shape kLayer = {"moe_layer", 128, 2048, 768};
constexpr Shape kDeepSeek = {"moe_deepseek", 32, 7168, 2048};

Buffer copy(const Buffer& from) {
  Buffer to(from.size());
  if (from.size() > 0) std::memcpy(to.data(), from.data(), from.size());
  return to;
}

std::vector<MlpWeights> make_experts(const Shape& shape, DType dtype) {
  Rng rng(1);
  const int64_t count = shape.hidden * shape.width;
  std::vector<std::byte> values(static_cast<size_t>(count * dtype_size(dtype)));
  for (int64_t i = 0; i < count; ++i) {
    if (dtype == DType::kBF16) {
      const auto v = static_cast<uint16_t>(0x3C00U + rng.below(512) + (rng.below(2) << 15U));
      std::memcpy(&values[static_cast<size_t>(i) * 2], &v, 2);
    } else {
      values[static_cast<size_t>(i)] =
          static_cast<std::byte>(rng.below(0x7f) + (rng.below(2) << 7U));
    }
  }
  std::vector<float> scales(static_cast<size_t>(fp8_blocks(shape.hidden) * fp8_blocks(shape.width)),
                            0.01F);
  const float* s = dtype == DType::kF8E4M3 ? scales.data() : nullptr;
  const PackedGateUp gate_up =
      pack_gate_up(dtype, shape.width, shape.hidden, values.data(), s, values.data(), s);
  const PackedWeight down = pack_weight(dtype, shape.hidden, shape.width, values.data(), s);
  std::vector<MlpWeights> out;
  for (int e = 0; e < shape.experts; ++e) {
    out.push_back({{dtype, shape.width, shape.hidden, copy(gate_up.data), copy(gate_up.scales)},
                   {dtype, shape.hidden, shape.width, copy(down.data), copy(down.scales)}});
  }
  return out;
}

// Rows as they arrive: sorted by slot.
struct Traffic {
  std::vector<uint16_t> rows;  // BF16 [tokens][hidden]
  std::vector<float> outputs;  // [tokens · top-k][hidden]
  std::vector<int64_t> begin;
  std::vector<ReceivedPair> pairs;
  int active = 0;  // experts with rows

  Traffic(const Shape& shape, int64_t tokens)
      : rows(static_cast<size_t>(tokens * shape.hidden)),
        outputs(static_cast<size_t>(tokens * kTopK * shape.hidden)) {
    Rng rng(2);
    for (uint16_t& x : rows) x = f32_to_bf16(static_cast<float>(rng.normal()));
  }
  void route(const Shape& shape, int64_t tokens, Rng& rng) {
    std::vector<std::vector<int64_t>> of(static_cast<size_t>(shape.experts));
    for (int64_t t = 0; t < tokens; ++t) {
      for (int chosen = 0; chosen < kTopK;) {
        auto& list = of[rng.below(static_cast<uint64_t>(shape.experts))];
        if (!list.empty() && list.back() == t) continue;
        list.push_back(t);
        ++chosen;
      }
    }
    begin.assign(1, 0);
    pairs.clear();
    active = 0;
    for (const auto& list : of) {
      for (const int64_t t : list) {
        const auto at = static_cast<int64_t>(pairs.size());
        pairs.push_back({reinterpret_cast<const std::byte*>(rows.data() + t * shape.hidden),
                         outputs.data() + at * shape.hidden});
      }
      begin.push_back(static_cast<int64_t>(pairs.size()));
      active += list.empty() ? 0 : 1;
    }
  }
};

struct Bench {
  const Options& options;
  const Kernels& kernels;
  Pool& pool;
  OpRunner ops;
  MachineProbe& probe;

  double once(GroupGemm& gemm, const std::vector<MlpWeights>& experts,
              const Traffic& traffic) const {
    const int64_t begin = system_clock().now_ns();
    gemm.run(experts, {traffic.begin, traffic.pairs});
    return seconds(begin, system_clock().now_ns());
  }

  nlohmann::json params(const Shape& shape, DType dtype, int64_t tokens) const {
    return {{"experts", shape.experts}, {"hidden", shape.hidden},
            {"width", shape.width},     {"top_k", kTopK},
            {"tokens", tokens},         {"weights", std::string(dtype_name(dtype))},
            {"kernel", kernels.name},   {"variant", kernels.variant},
            {"threads", pool.threads()}};
  }

  // All types of weights in the same rounds; the first is the one that others are compared with.
  void run(const Shape& shape, const std::vector<DType>& types, const std::vector<int64_t>& sizes,
           const std::function<std::optional<double>(int64_t)>& target) {
    std::map<DType, std::vector<MlpWeights>> experts;
    for (const DType t : types) experts[t] = make_experts(shape, t);
    for (const int64_t tokens : sizes) {
      Traffic traffic(shape, tokens);
      GroupGemm gemm(ops, shape.hidden, shape.width, DType::kBF16, 1024, shape.experts);
      std::map<DType, Record> records;
      std::vector<double> speedup;
      Rng rng(static_cast<uint64_t>(tokens));
      for (int round = -1; round < options.rounds; ++round) {  // the first warms scratch up
        traffic.route(shape, tokens, rng);
        double first = 0;
        for (const DType t : types) {
          probe.measure();
          const double s = once(gemm, experts[t], traffic);
          if (t == types[0]) first = s;
          if (round < 0) continue;
          const auto bytes = static_cast<double>(experts[t][0].bytes() * traffic.active);
          const double flops = 6.0 * static_cast<double>(shape.hidden * shape.width) *
                               static_cast<double>(tokens * kTopK);
          const double limit = std::max(bytes / probe.speeds().read_bytes_per_s,
                                        flops / probe.speeds().bf16_flops_per_s);
          Record& r = records[t];
          r.values.push_back(s * 1e3);
          r.limits.push_back(limit * 1e3);
          r.ratios.push_back(limit / s);
          if (t != types[0]) speedup.push_back(first / s);
        }
      }
      for (auto& [t, r] : records) {
        r.name = shape.name;
        r.params = params(shape, t, tokens);
        r.metric = "time_ms";
        if (t == types[0]) r.target = target(tokens);
        report(options, r);
      }
      if (speedup.empty()) continue;
      // Ratio to the speed of the first type; the limit is that of half the bytes.
      report(options, {"fp8_speedup",
                       params(shape, types[1], tokens),
                       "times_bf16",
                       speedup,
                       {2.0},
                       {median(speedup) / 2.0},
                       tokens <= 16 ? 0.75 : 0.5});
    }
  }
};

int main_of(int argc, char** argv) {
  const Options options = parse_options(
      argc, argv, "Expert products of an MoE layer beside bandwidth and peak of the same rounds.");
  const auto kernels = choose_kernels(options.kernel);
  if (!kernels) {
    fmt::print(stderr, "{}\n", kernels.error().message());
    return 2;
  }
  const FlushSubnormals mode;
  Pool pool(options.threads, [](int) { static thread_local const FlushSubnormals of_thread; });
  MachineProbe probe(**kernels, pool);
  Bench bench{options, **kernels, pool, OpRunner(**kernels, pool, ComputeMode::kBF16), probe};
  const auto wanted = [&](const Shape& s) {
    return std::string(s.name).find(options.only) != std::string::npos;
  };
  const bool quick = options.quick;
  if (wanted(kLayer)) {
    bench.run(
        kLayer, {DType::kBF16, DType::kF8E4M3},
        quick ? std::vector<int64_t>{1, 16, 64} : std::vector<int64_t>{1, 2, 4, 8, 16, 32, 64, 512},
        [](int64_t tokens) { return tokens <= 64 ? 0.85 : 0.75; });
  }
  if (wanted(kDeepSeek) && !quick) {
    bench.run(kDeepSeek, {DType::kBF16}, {16, 64, 256, 512}, [](int64_t) { return 0.8; });
  }
  return 0;
}

}  // namespace
}  // namespace wingspan::bench

int main(int argc, char** argv) { return wingspan::bench::main_of(argc, argv); }
