// Products over the rows of all ranks together give each rank the bits that it gets alone.
#include "model/joint_ops.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "comm/loopback.h"

namespace wingspan {
namespace {

ModelConfig small_config() {
  ModelConfig c;
  c.hidden = 128;
  c.dense_width = 200;
  c.mla.heads = 4;
  c.mla.q_lora = 48;
  c.mla.kv_lora = 40;
  c.mla.nope = 32;
  c.mla.rope = 16;
  c.mla.v = 32;
  c.moe.router.experts = 20;
  return c;
}

std::vector<float> random_floats(Rng& rng, int64_t count) {
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) x = static_cast<float>(rng.uniform() * 2 - 1);
  return out;
}

// Random values of `type`, as a checkpoint has them.
std::vector<std::byte> random_weight(Rng& rng, DType type, int64_t count) {
  const auto values = random_floats(rng, count);
  std::vector<std::byte> out(static_cast<size_t>(count * dtype_size(type)));
  for (int64_t i = 0; i < count; ++i) {
    const float x = values[static_cast<size_t>(i)];
    std::byte* to = out.data() + i * dtype_size(type);
    if (type == DType::kF32) {
      std::memcpy(to, &x, 4);
    } else if (type == DType::kBF16) {
      const uint16_t bits = f32_to_bf16(x);
      std::memcpy(to, &bits, 2);
    } else {
      *to = static_cast<std::byte>(rng.below(120) + (x < 0 ? 128 : 0));  // no NaN
    }
  }
  return out;
}

struct Weights {
  PackedWeight plain, head;  // [70, hidden], and of a head [40, nope]
  MlpWeights mlp;
};
Weights make_weights(const ModelConfig& c, DType type, uint64_t seed) {
  Rng rng(seed);
  const auto scales = random_floats(rng, 64);
  const float* s = type == DType::kF8E4M3 ? scales.data() : nullptr;
  const auto weight = [&](DType of, int64_t n, int64_t k) {
    return pack_weight(of, n, k, random_weight(rng, of, n * k).data(),
                       of == DType::kF8E4M3 ? s : nullptr);
  };
  Weights w;
  w.plain = weight(type, 70, c.hidden);
  w.head = weight(type == DType::kF8E4M3 ? DType::kBF16 : type, c.mla.kv_lora, c.mla.nope);
  const int64_t width = c.dense_width;
  w.mlp.gate_up =
      pack_gate_up(type, width, c.hidden, random_weight(rng, type, width * c.hidden).data(), s,
                   random_weight(rng, type, width * c.hidden).data(), s);
  w.mlp.down = weight(type, c.hidden, width);
  return w;
}

// What one rank computes from its rows: a linear layer, all heads, an MLP, one after another.
Expected<std::vector<float>> compute(JointOps& joint, const OpRunner& ops, const ModelConfig& c,
                                     const Weights& w, const std::vector<float>& x, int64_t rows) {
  Buffer packed(static_cast<size_t>(OpRunner::packed_bytes(rows + 1, 256))),
      act(floats(rows * 200 + 1));
  const int64_t latent = c.mla.heads * c.mla.kv_lora;
  std::vector<float> out(static_cast<size_t>(rows * (70 + latent + c.hidden) + 1), -7.0F);
  float* y = out.data();
  const std::array plain = {Product{&w.plain, nullptr, y, 70}};
  WS_RETURN_IF_ERROR(joint.multiply(
      {activation_type(ops.compute(), w.plain.dtype), x.data(), c.hidden, rows, c.hidden}, plain,
      packed));
  y += rows * 70;
  std::vector<Product> heads;
  for (int64_t h = 0; h < c.mla.heads; ++h) {
    heads.push_back({&w.head, nullptr, y + h * c.mla.kv_lora, latent, h * c.mla.nope});
  }
  WS_RETURN_IF_ERROR(joint.multiply(
      {activation_type(ops.compute(), w.head.dtype), x.data(), c.hidden, rows, c.hidden}, heads,
      packed));
  y += rows * latent;
  Buffer packed_x(static_cast<size_t>(OpRunner::packed_bytes(rows + 1, c.hidden)));
  const Rows in = ops.pack(w.mlp.gate_up.dtype, x.data(), c.hidden, rows, c.hidden, packed_x);
  WS_RETURN_IF_ERROR(joint.mlp(in, w.mlp, act, packed, y, c.hidden));
  return out;
}

struct Case {
  uint64_t seed;
  int ranks, threads;
  DType type;
  ComputeMode mode;
  int64_t most_rows;
};

// Joined and alone on this rank, step by step.
Status compare_steps(Group& group, const Case& k, const ModelConfig& c, const Weights& w,
                     int& joined_steps) {
  const Kernels& kernels = *choose_kernels("portable").value();
  Pool pool(k.threads);
  const OpRunner ops(kernels, pool, k.mode);
  WS_ASSIGN(auto rows_of_all, JointRows::create(group, joint_shape(c, k.most_rows)));
  if (rows_of_all == nullptr) return failed("these ranks share memory");
  JointOps joint(c, ops, rows_of_all.get()), alone(c, ops, nullptr);
  Rng plan(k.seed);  // the same on all ranks
  Rng own(k.seed * 100 + static_cast<uint64_t>(group.rank()));
  for (int64_t step = 0; step < 12; ++step) {
    std::vector<int64_t> counts;
    for (int r = 0; r < k.ranks; ++r) {
      counts.push_back(static_cast<int64_t>(
          plan.below(static_cast<uint64_t>(step % 4 == 0 ? 2 : k.most_rows + 1))));
    }
    joint.begin_step(step, counts);
    const int64_t rows = counts[static_cast<size_t>(group.rank())];
    const auto x = random_floats(own, rows * c.hidden + 1);
    WS_ASSIGN(const auto want, compute(alone, ops, c, w, x, rows));
    // As in a forward pass: a rank without rows makes the calls only where rows are joined.
    if (rows == 0 && !joint.joined()) continue;
    WS_ASSIGN(const auto got, compute(joint, ops, c, w, x, rows));
    if (std::memcmp(got.data(), want.data(), want.size() * 4) != 0) return failed("other bits");
    if (group.rank() == 0) joined_steps += joint.joined() ? 1 : 0;
  }
  return {};
}

TEST(JointOps, TheBitsAreThoseOfARankAlone) {
  const ModelConfig config = small_config();
  uint64_t seed = 1;
  for (const auto& [type, mode] : {std::pair{DType::kF32, ComputeMode::kF32},
                                   {DType::kBF16, ComputeMode::kBF16},
                                   {DType::kF8E4M3, ComputeMode::kBF16},
                                   {DType::kF8E4M3, ComputeMode::kFP8}}) {
    for (const int ranks : {2, 5, 33}) {
      // Of the last, some steps have a rank with too many rows.
      for (const int64_t most : {int64_t{3}, kJointRowsOfRank, kJointRowsOfRank + 3}) {
        const Case k{++seed, ranks, ranks == 2 ? 2 : 1, type, mode, most};
        SCOPED_TRACE(::testing::Message() << "seed " << seed << ", " << ranks << " ranks, up to "
                                          << most << " rows, " << dtype_name(type));
        const Weights w = make_weights(config, type, seed);
        int joined_steps = 0;
        const Status status = run_loopback(ranks, {}, [&](Group& group) {
          return compare_steps(group, k, config, w, joined_steps);
        });
        EXPECT_TRUE(status) << status.error().message();
        EXPECT_GE(joined_steps, 1);
      }
    }
  }
}

TEST(JointOps, ARankAloneHasNobodyToJoin) {
  const Status status = run_loopback(1, {}, [&](Group& group) -> Status {
    WS_ASSIGN(auto rows, JointRows::create(group, joint_shape(small_config(), 4)));
    return rows == nullptr ? Status{} : failed("joined");
  });
  EXPECT_TRUE(status);
}

}  // namespace
}  // namespace wingspan
