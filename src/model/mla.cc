#include "model/mla.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/fault.h"
#include "model/attention_fault.h"

namespace wingspan {
namespace {

// Rows whose absorbed queries are held at a time: bounds the scratch, never changes a bit.
constexpr int64_t kSliceRows = 64;

// Queries (rows × heads) of one call of the attention kernel: together with a KV block they stay in
// the second-level cache.
constexpr int64_t kTaskQueries = 64;

constexpr int64_t kQueryGrain = 64;  // queries that are worth a thread to rotate and round

}  // namespace

MlaAttention::MlaAttention(const ModelConfig& config, const OpRunner& ops, JointOps& joint,
                           KvCache& cache, const RopeTable& rope, int64_t max_rows)
    : config_(config),
      c_(config.mla),
      ops_(ops),
      joint_(joint),
      cache_(cache),
      rope_(rope),
      q_width_(c_.heads * (c_.nope + c_.rope)),
      kv_width_(c_.kv_lora + c_.rope),
      q_stride_(mla_kv_stride(c_.kv_lora, c_.rope)) {
  const int64_t slice = std::min(max_rows, kSliceRows);
  const int64_t widest = std::max({config.hidden, c_.q_lora, q_width_, c_.heads * c_.v});
  packed_ =
      Buffer(static_cast<size_t>(std::max(OpRunner::packed_bytes(max_rows, widest),
                                          OpRunner::packed_bytes(slice, c_.heads * c_.kv_lora))));
  q_latent_ = Buffer(floats(max_rows * std::max<int64_t>(c_.q_lora, 1)));
  q_ = Buffer(floats(max_rows * q_width_));
  kv_ = Buffer(floats(max_rows * kv_width_));
  absorbed_ = Buffer(floats(slice * c_.heads * q_stride_));
  latent_out_ = Buffer(floats(slice * c_.heads * c_.kv_lora));
  values_ = Buffer(floats(max_rows * c_.heads * c_.v));
  positions_.reserve(static_cast<size_t>(max_rows));
  row_blocks_.reserve(static_cast<size_t>(max_rows));
  block_pointers_.reserve(static_cast<size_t>(cache.blocks() + max_rows));
  tasks_.reserve(static_cast<size_t>(slice));
  by_head_.resize(static_cast<size_t>(c_.heads));
}

ProductInput MlaAttention::input(DType weight, const float* x, int64_t rows, int64_t cols) const {
  return {activation_type(ops_.compute(), weight), x, cols, rows, cols};
}

void MlaAttention::set_places(int layer, const StepInput& step) {
  positions_.clear();
  row_blocks_.clear();
  block_pointers_.clear();
  for (const StepSequence& s : step.sequences) {
    const size_t first = block_pointers_.size();
    const int64_t blocks = (s.first_position + s.rows + kKvBlock - 1) / kKvBlock;
    for (int64_t b = 0; b < blocks; ++b) {
      block_pointers_.push_back(cache_.block(layer, s.blocks[b]));
    }
    WS_CHECK(block_pointers_.size() <= block_pointers_.capacity());
    for (int64_t r = 0; r < s.rows; ++r) {
      positions_.push_back(s.first_position + r);
      row_blocks_.push_back(block_pointers_.data() + first);
    }
  }
  WS_CHECK(positions_.size() == step.tokens.size(), "{} rows", step.tokens.size());
}

Status MlaAttention::run(const MlaWeights& weights, int layer, const float* x,
                         const StepInput& step, float* out) {
  const auto rows = static_cast<int64_t>(step.tokens.size());
  set_places(layer, step);
  WS_RETURN_IF_ERROR(project(weights, x, rows));
  store_kv(weights, layer, step);
  // In a joint step even a rank without rows takes part: its rows are one slice at most.
  for (int64_t begin = 0; begin < rows || (begin == 0 && joint_.joined()); begin += kSliceRows) {
    WS_RETURN_IF_ERROR(attend_slice(weights, begin, std::min(begin + kSliceRows, rows)));
  }
  const std::array products = {Product{&weights.o, nullptr, out, config_.hidden}};
  return joint_.multiply(input(weights.o.dtype, values_.as<float>(), rows, c_.heads * c_.v),
                         products, packed_);
}

// Queries and the row of KV, all from x; queries perhaps by way of their latent form.
Status MlaAttention::project(const MlaWeights& w, const float* x, int64_t rows) {
  auto* latent = q_latent_.as<float>();
  const PackedWeight& first = w.compressed_query ? w.q_a : w.q_b;
  const std::array products = {
      Product{&first, nullptr, w.compressed_query ? latent : q_.as<float>(), first.n},
      Product{&w.kv_a, nullptr, kv_.as<float>(), kv_width_}};
  const ProductInput in = input(first.dtype, x, rows, config_.hidden);
  const ProductInput kv_in = input(w.kv_a.dtype, x, rows, config_.hidden);
  if (in.dtype == kv_in.dtype) {
    WS_RETURN_IF_ERROR(joint_.multiply(in, products, packed_));
  } else {
    WS_RETURN_IF_ERROR(joint_.multiply(in, std::span(products).first(1), packed_));
    WS_RETURN_IF_ERROR(joint_.multiply(kv_in, std::span(products).last(1), packed_));
  }
  if (!w.compressed_query) return {};
  ops_.rms_norm(latent, c_.q_lora, w.q_a_norm, c_.latent_norm_eps, latent, c_.q_lora, rows);
  const std::array queries = {Product{&w.q_b, nullptr, q_.as<float>(), q_width_}};
  return joint_.multiply(input(w.q_b.dtype, latent, rows, c_.q_lora), queries, packed_);
}

void MlaAttention::store_kv(const MlaWeights& w, int layer, const StepInput& step) {
  const auto rows = static_cast<int64_t>(step.tokens.size());
  auto* kv = kv_.as<float>();
  ops_.rms_norm(kv, kv_width_, w.kv_a_norm, c_.latent_norm_eps, kv, kv_width_, rows);
  const int64_t half = c_.rope / 2;
  for (const StepSequence& s : step.sequences) {
    run_ranges(ops_.pool(), s.rows, kKvBlock, [&](int64_t, int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const int64_t position = s.first_position + r;
        float* row = kv + (s.first_row + r) * kv_width_;
        ops_.kernels().rope(row + c_.kv_lora, rope_.cos.data() + position * half,
                            rope_.sin.data() + position * half, static_cast<int>(c_.rope));
        std::byte* to = cache_.row(layer, s.blocks[position / kKvBlock], position);
        if (cache_.dtype() == DType::kF32) {
          std::memcpy(to, row, floats(kv_width_));
        } else {
          ops_.kernels().narrow_bf16(row, kv_width_, reinterpret_cast<uint16_t*>(to));
        }
      }
    });
  }
}

// q_nope of each head through UK into the latent space, q_rope rotated behind it.
Status MlaAttention::absorb_queries(const MlaWeights& w, int64_t begin, int64_t end) {
  const int64_t rows = end - begin, head_width = c_.nope + c_.rope, half = c_.rope / 2;
  auto* absorbed = absorbed_.as<float>();
  const float* q = q_.as<float>() + begin * q_width_;
  // kv_b's halves are never FP8 here, so a head is a column range of one converted row.
  for (int64_t h = 0; h < c_.heads; ++h) {
    by_head_[static_cast<size_t>(h)] = {&w.uk[static_cast<size_t>(h)], nullptr,
                                        absorbed + h * q_stride_, c_.heads * q_stride_,
                                        h * head_width};
  }
  WS_RETURN_IF_ERROR(joint_.multiply(input(w.uk[0].dtype, q, rows, q_width_), by_head_, packed_));
  run_ranges(ops_.pool(), rows * c_.heads, kQueryGrain, [&](int64_t, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t r = i / c_.heads, h = i % c_.heads;
      float* to = absorbed + i * q_stride_;
      const int64_t position = positions_[static_cast<size_t>(begin + r)];
      std::memcpy(to + c_.kv_lora, q + r * q_width_ + h * head_width + c_.nope, floats(c_.rope));
      ops_.kernels().rope(to + c_.kv_lora, rope_.cos.data() + position * half,
                          rope_.sin.data() + position * half, static_cast<int>(c_.rope));
      if (cache_.dtype() == DType::kBF16) ops_.kernels().round_bf16(to, kv_width_);
      std::fill(to + kv_width_, to + q_stride_, 0.0F);
    }
  });
  return {};
}

// Neighbouring rows of one sequence, as many as share the cache well.
void MlaAttention::plan_tasks(int64_t begin, int64_t end) {
  tasks_.clear();
  const int64_t most = std::max<int64_t>(1, kTaskQueries / c_.heads);
  for (int64_t r = begin; r < end; ++r) {
    const bool more =
        !tasks_.empty() && tasks_.back().rows < most &&
        row_blocks_[static_cast<size_t>(tasks_.back().row)] == row_blocks_[static_cast<size_t>(r)];
    if (more) {
      ++tasks_.back().rows;
    } else {
      tasks_.push_back({r, 1});
    }
  }
}

// Part `part` of `parts` of the heads.
void MlaAttention::attend_task(int64_t slice_begin, int64_t task, int64_t part, int64_t parts) {
  const Task t = tasks_[static_cast<size_t>(task)];
  const int64_t first = c_.heads * part / parts, last = c_.heads * (part + 1) / parts;
  const int64_t query = (t.row - slice_begin) * c_.heads + first;
  MlaAttentionArgs args;
  args.q = absorbed_.as<float>() + query * q_stride_;
  args.q_stride = q_stride_;
  args.q_row_stride = c_.heads * q_stride_;
  args.rows = t.rows;
  args.heads = static_cast<int>(last - first);
  args.latent = c_.kv_lora;
  args.rope = c_.rope;
  args.blocks = row_blocks_[static_cast<size_t>(t.row)];
  args.kv_dtype = cache_.dtype();
  args.positions = positions_[static_cast<size_t>(t.row)] + 1;
  args.scale = static_cast<float>(c_.softmax_scale);
  args.out = latent_out_.as<float>() + query * c_.kv_lora;
  args.out_stride = c_.kv_lora;
  args.out_row_stride = c_.heads * c_.kv_lora;
  if (fault_is(Fault::kChunkByRowCount) && positions_.size() > 1) [[unlikely]] {
    attention_in_small_chunks(args);
  } else {
    ops_.kernels().mla_attention(args);
  }
}

Status MlaAttention::attend_slice(const MlaWeights& w, int64_t begin, int64_t end) {
  WS_RETURN_IF_ERROR(absorb_queries(w, begin, end));
  plan_tasks(begin, end);
  const auto tasks = static_cast<int64_t>(tasks_.size());
  const int64_t threads = ops_.pool().threads();
  const int64_t parts = tasks >= threads ? 1 : std::min(c_.heads, threads);
  ops_.pool().run(tasks * parts,
                  [&](int64_t i) { attend_task(begin, i / parts, i % parts, parts); });
  auto* values = values_.as<float>() + begin * c_.heads * c_.v;
  for (int64_t h = 0; h < c_.heads; ++h) {
    by_head_[static_cast<size_t>(h)] = {&w.uv[static_cast<size_t>(h)], nullptr, values + h * c_.v,
                                        c_.heads * c_.v, h * c_.kv_lora};
  }
  return joint_.multiply(
      input(w.uv[0].dtype, latent_out_.as<float>(), end - begin, c_.heads * c_.kv_lora), by_head_,
      packed_);
}

}  // namespace wingspan
