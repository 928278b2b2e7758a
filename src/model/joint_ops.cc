#include "model/joint_ops.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace wingspan {
namespace {

// Pieces of a round for each CPU: some, so that one who lost its CPU does not hold up all, but few,
// since each converts the rows for itself.
constexpr int64_t kPiecesOfCpu = 4;

// Two waits for each of six products cost a rank some 30 µs where ranks share cores. In that time a
// core reads half of so many BF16 weights from the caches.
constexpr int64_t kWorthJoining = 1 << 19;

}  // namespace

bool joining_pays(const ModelConfig& config) {
  const MlaConfig& c = config.mla;
  const int64_t q_width = c.heads * (c.nope + c.rope);
  const int64_t queries =
      c.q_lora > 0 ? c.q_lora * (config.hidden + q_width) : config.hidden * q_width;
  const int64_t rest =
      config.hidden * (c.kv_lora + c.rope + c.heads * c.v) + c.heads * c.kv_lora * (c.nope + c.v);
  return queries + rest >= kWorthJoining;
}

JointShape joint_shape(const ModelConfig& config, int64_t max_rows) {
  const MlaConfig& c = config.mla;
  const int64_t q_width = c.heads * (c.nope + c.rope), latent = c.heads * c.kv_lora;
  const int64_t mlp = std::max(config.dense_width, config.moe.shared_width);
  JointShape shape;
  shape.max_rows = max_rows;
  const int64_t widest = std::max({config.hidden, c.q_lora, q_width, latent, c.heads * c.v, mlp});
  shape.row_bytes = OpRunner::packed_bytes(1, widest);
  shape.outputs = std::max({std::max(c.q_lora, q_width) + c.kv_lora + c.rope, latent, c.heads * c.v,
                            config.hidden, mlp, int64_t{config.moe.router.experts}});
  return shape;
}

JointOps::JointOps(const ModelConfig& config, const OpRunner& ops, JointRows* joint)
    : ops_(ops), joint_(joint) {
  products_.reserve(static_cast<size_t>(config.mla.heads) + 2);
}

Status JointOps::multiply(const ProductInput& x, std::span<const Product> products,
                          Buffer& packed) {
  if (joined()) {
    const int64_t stride = OpRunner::packed_stride(x.dtype, x.cols);
    ops_.pack_as(x.dtype, x.x, x.stride, x.rows, x.cols,
                 joint_->input(stride) + joint_->first_row() * stride);
    return multiply_joined(x.dtype, x.rows, x.cols, products);
  }
  if (x.dtype == DType::kF32) {  // as they are
    const auto* bytes = reinterpret_cast<const std::byte*>(x.x);
    ops_.multiply({x.dtype, bytes, x.stride * 4, nullptr, 0, x.rows, x.cols}, products);
  } else {
    WS_CHECK(static_cast<int64_t>(packed.size()) >=
             x.rows * OpRunner::packed_stride(x.dtype, x.cols));
    ops_.multiply(ops_.pack_as(x.dtype, x.x, x.stride, x.rows, x.cols, packed.data()), products);
  }
  return {};
}

Status JointOps::multiply(const Rows& x, std::span<const Product> products) {
  if (!joined()) {
    ops_.multiply(x, products);
    return {};
  }
  const int64_t stride = OpRunner::packed_stride(x.dtype, x.cols);
  WS_CHECK(x.rows == 0 || x.stride_bytes == stride, "{} bytes", x.stride_bytes);
  std::byte* own = joint_->input(stride) + joint_->first_row() * stride;
  if (x.rows > 0) std::memcpy(own, x.data, static_cast<size_t>(x.rows * stride));
  return multiply_joined(x.dtype, x.rows, x.cols, products);
}

Status JointOps::multiply_joined(DType dtype, int64_t rows, int64_t cols,
                                 std::span<const Product> products) {
  const int64_t total = joint_->total_rows(), stride = OpRunner::packed_stride(dtype, cols);
  int64_t outputs = 0, groups = 0;
  for (const Product& p : products) {
    outputs += p.outputs();
    groups += p.groups();
  }
  float* out = joint_->output(outputs);
  products_.assign(products.begin(), products.end());
  for (Product& p : products_) {
    p.y = out;
    p.y_stride = p.outputs();
    out += total * p.outputs();
  }
  WS_RETURN_IF_ERROR(joint_->meet(layer_));
  const Rows all = packed_rows(dtype, joint_->input(stride), stride, total, cols);
  const int64_t pieces = std::min(groups, kPiecesOfCpu * joint_->cpus());
  ops_.pool().run(ops_.pool().threads(), [&](int64_t) {
    for (int64_t i = joint_->take(pieces); i >= 0; i = joint_->take(pieces)) {
      ops_.multiply_groups(all, products_, groups * i / pieces, groups * (i + 1) / pieces);
      joint_->done(pieces);
    }
  });
  WS_RETURN_IF_ERROR(joint_->finish(pieces));
  for (size_t i = 0; i < products.size(); ++i) {
    const int64_t width = products_[i].y_stride;
    const float* own = products_[i].y + joint_->first_row() * width;
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(products[i].y + r * products[i].y_stride, own + r * width, floats(width));
    }
  }
  joint_->next_round();
  return {};
}

Status JointOps::mlp(const Rows& x, const MlpWeights& w, Buffer& act, Buffer& packed, float* y,
                     int64_t y_stride) {
  const int64_t width = w.gate_up.width;
  const std::array up = {Product{nullptr, &w.gate_up, act.as<float>(), width}};
  WS_RETURN_IF_ERROR(multiply(x, up));
  const std::array down = {Product{&w.down, nullptr, y, y_stride}};
  return multiply(
      {activation_type(ops_.compute(), w.down.dtype), act.as<float>(), width, x.rows, width}, down,
      packed);
}

}  // namespace wingspan
