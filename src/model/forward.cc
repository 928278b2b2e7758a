#include "model/forward.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "kernels/finite.h"
#include "moe/router.h"

namespace wingspan {
namespace {

constexpr int64_t kWaveRows = 1024;  // (token, expert) rows of a GroupGEMM wave

RopeTable rope_table(const ModelConfig& config, int64_t positions) {
  const MlaConfig& c = config.mla;
  return make_rope_table(
      rope_frequencies(static_cast<int>(c.rope), c.rope_theta, c.yarn ? &*c.yarn : nullptr),
      positions);
}

}  // namespace

ForwardPass::ForwardPass(const ModelConfig& config, const ModelWeights& weights,
                         const RankExperts& experts, const Placement& placement, int rank,
                         Exchange* exchange, HeadExchange* head, JointRows* joint,
                         const OpRunner& ops, const ForwardLimits& limits, const Clock& clock)
    : config_(config),
      weights_(weights),
      experts_(experts),
      exchange_(exchange),
      head_exchange_(head),
      head_rows_(head_rows(placement.topology.ranks())),
      ops_(ops),
      clock_(clock),
      limits_(limits),
      cache_(config, kv_type(ops.compute()), limits.kv_blocks),
      rope_(rope_table(config, limits.max_positions)),
      joint_(config, ops, joint),
      mla_(config, ops, joint_, cache_, rope_, limits.max_rows) {
  const auto moe_layers = config.moe_layers();
  WS_CHECK(moe_layers.empty() || exchange != nullptr);
  for (int layer : moe_layers) {
    const LayerPlacement* p = placement.find_layer(layer);
    WS_CHECK(p != nullptr, "layer {} has no placement", layer);
    maps_.emplace_back(placement.topology, *p, rank);
  }
  const int64_t rows = limits.max_rows, k = config.moe.router.top_k;
  const int64_t widest = std::max({config.dense_width, config.moe.shared_width, int64_t{1}});
  hidden_ = Buffer(floats(rows * config.hidden));
  normed_ = Buffer(floats(rows * config.hidden));
  branch_ = Buffer(floats(rows * config.hidden));
  combined_ = Buffer(floats(rows * config.hidden));
  packed_ = Buffer(static_cast<size_t>(OpRunner::packed_bytes(rows, config.hidden)));
  act_ = Buffer(floats(rows * widest));
  packed_act_ = Buffer(static_cast<size_t>(OpRunner::packed_bytes(rows, widest)));
  logits_ = Buffer(floats(head_rows_ * config.vocab));
  summaries_.resize(static_cast<size_t>(head_rows_));
  faults_.reserve(static_cast<size_t>(limits.max_rows));
  if (head != nullptr) head_part_ = Buffer(floats(head->max_total_rows() * head->columns()));
  if (moe_layers.empty()) return;
  const int64_t experts_count = config.moe.router.experts;
  router_logits_ = Buffer(floats(rows * experts_count));
  router_scratch_ = Buffer(floats(3 * experts_count * ops.pool().threads()));
  expert_ids_ = Buffer(static_cast<size_t>(rows * k) * sizeof(int32_t));
  expert_weights_ = Buffer(floats(rows * k));
  const int slots = placement.topology.rank_slots[static_cast<size_t>(rank)];
  group_gemm_ = std::make_unique<GroupGemm>(ops, config.hidden, config.moe.expert_width,
                                            limits.expert_dtype, kWaveRows, slots);
}

void ForwardPass::lap(int64_t& part) {
  const int64_t now = clock_.now_ns();
  part += now - mark_ns_;
  mark_ns_ = now;
}

Status ForwardPass::run(int64_t step_number, const StepInput& step, StepTap& tap) {
  const auto rows = static_cast<int64_t>(step.tokens.size());
  WS_CHECK(rows <= limits_.max_rows, "{} rows > {}", rows, limits_.max_rows);
  mark_ns_ = clock_.now_ns();
  joint_.begin_step(step_number, step.rank_rows);
  faults_.assign(step.tokens.size(), {});
  embed(step);
  const std::array embedded = {Source{Tensor::kEmbedding, hidden_.as<float>(), config_.hidden}};
  find_faults(rows, -1, embedded);
  int moe_index = 0;
  for (int layer = 0; layer < config_.layers; ++layer) {
    joint_.set_layer(layer);
    const bool takes_part = rows > 0 || joint_.joined();
    if (takes_part) WS_RETURN_IF_ERROR(attention(layer, step));
    lap(times_.attention_ns);
    if (config_.mlp[static_cast<size_t>(layer)] == MlpKind::kDense) {
      if (takes_part) WS_RETURN_IF_ERROR(dense(layer, rows));
      lap(times_.shared_ns);
    } else {
      WS_RETURN_IF_ERROR(moe(step_number, layer, moe_index++, step, tap));
    }
    if (tap.wants_layers()) tap.on_layer(layer, hidden_.as<float>());
  }
  return {};
}

void ForwardPass::embed(const StepInput& step) {
  const RawTensor& e = weights_.embedding;
  auto* out = hidden_.as<float>();
  for (size_t r = 0; r < step.tokens.size(); ++r) {
    const int64_t first = step.tokens[r] * config_.hidden;
    float* row = out + static_cast<int64_t>(r) * config_.hidden;
    if (e.dtype == DType::kF32) {
      std::memcpy(row, e.bytes.data() + first * 4, floats(config_.hidden));
      continue;
    }
    const auto* values = reinterpret_cast<const uint16_t*>(e.bytes.data()) + first;
    for (int64_t i = 0; i < config_.hidden; ++i) row[i] = bf16_to_f32(values[i]);
  }
}

void ForwardPass::add(const float* x, int64_t rows) {
  auto* h = hidden_.as<float>();
  run_ranges(ops_.pool(), rows, kRowGrain, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin * config_.hidden; i < end * config_.hidden; ++i) h[i] = h[i] + x[i];
  });
}

Status ForwardPass::attention(int layer, const StepInput& step) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  const auto rows = static_cast<int64_t>(step.tokens.size());
  ops_.rms_norm(hidden_.as<float>(), config_.hidden, w.input_norm, config_.rms_eps,
                normed_.as<float>(), config_.hidden, rows);
  WS_RETURN_IF_ERROR(mla_.run(w.mla, layer, normed_.as<float>(), step, branch_.as<float>()));
  add(branch_.as<float>(), rows);
  const std::array sources = {Source{Tensor::kInputNorm, normed_.as<float>(), config_.hidden},
                              Source{Tensor::kAttention, branch_.as<float>(), config_.hidden}};
  find_faults(rows, layer, sources);
  return {};
}

Status ForwardPass::dense(int layer, int64_t rows) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  ops_.rms_norm(hidden_.as<float>(), config_.hidden, w.post_attention_norm, config_.rms_eps,
                normed_.as<float>(), config_.hidden, rows);
  const Rows x = ops_.pack(w.dense->gate_up.dtype, normed_.as<float>(), config_.hidden, rows,
                           config_.hidden, packed_);
  WS_RETURN_IF_ERROR(
      joint_.mlp(x, *w.dense, act_, packed_act_, branch_.as<float>(), config_.hidden));
  add(branch_.as<float>(), rows);
  const std::array sources = {Source{Tensor::kMlpNorm, normed_.as<float>(), config_.hidden},
                              Source{Tensor::kDenseMlp, branch_.as<float>(), config_.hidden}};
  find_faults(rows, layer, sources);
  return {};
}

void ForwardPass::find_faults(int64_t rows, int layer, std::span<const Source> sources) {
  const float* hidden = hidden_.as<float>();
  for (int64_t r = 0; r < rows; ++r) {
    RowFault& fault = faults_[static_cast<size_t>(r)];
    if (fault.tensor != Tensor::kNone) continue;
    // A norm that overflows would give zeros, and so an answer that looks like one.
    if (has_norm(hidden + r * config_.hidden, config_.hidden)) continue;
    fault = {Tensor::kResidual, layer};
    for (const Source& source : sources) {
      if (all_finite(source.values + r * source.width, source.width)) continue;
      fault.tensor = source.tensor;
      break;
    }
  }
}

const char* tensor_name(Tensor tensor) {
  static constexpr const char* kNames[] = {"none",
                                           "embedding",
                                           "attention norm output",
                                           "attention output",
                                           "MLP norm output",
                                           "router logits",
                                           "experts' output",
                                           "shared expert's output",
                                           "MLP output",
                                           "residual stream",
                                           "logits"};
  return kNames[static_cast<size_t>(tensor)];
}

// Rule 1: routing is computed in float32 from the unrounded rows.
Status ForwardPass::route(const MoeWeights& w, int64_t rows) {
  const RouterSpec& spec = config_.moe.router;
  const std::array logits = {Product{&w.router, nullptr, router_logits_.as<float>(), spec.experts}};
  WS_RETURN_IF_ERROR(joint_.multiply(
      {DType::kF32, normed_.as<float>(), config_.hidden, rows, config_.hidden}, logits, packed_));
  run_ranges(ops_.pool(), rows, kRowGrain, [&](int64_t part, int64_t begin, int64_t end) {
    float* scratch = router_scratch_.as<float>() + part * 3 * spec.experts;
    for (int64_t r = begin; r < end; ++r) {
      route_token(ops_.kernels(), spec, router_logits_.as<float>() + r * spec.experts,
                  w.bias.empty() ? nullptr : w.bias.data(),
                  expert_ids_.as<int32_t>() + r * spec.top_k,
                  expert_weights_.as<float>() + r * spec.top_k, scratch);
    }
  });
  return {};
}

Status ForwardPass::moe(int64_t step_number, int layer, int moe_index, const StepInput& step,
                        StepTap& tap) {
  const LayerWeights& lw = weights_.layers[static_cast<size_t>(layer)];
  const MoeWeights& w = *lw.moe;
  const auto rows = static_cast<int64_t>(step.tokens.size());
  ops_.rms_norm(hidden_.as<float>(), config_.hidden, lw.post_attention_norm, config_.rms_eps,
                normed_.as<float>(), config_.hidden, rows);
  WS_RETURN_IF_ERROR(route(w, rows));
  tap.on_routing(moe_index, rows, expert_ids_.as<int32_t>(), expert_weights_.as<float>(),
                 router_logits_.as<float>());
  lap(times_.router_ns);

  const Rows x = ops_.pack(limits_.expert_dtype, normed_.as<float>(), config_.hidden, rows,
                           config_.hidden, packed_);
  exchange_->set_place(step_number, layer);
  WS_RETURN_IF_ERROR(exchange_->dispatch(
      maps_[static_cast<size_t>(moe_index)],
      {x.data, x.stride_bytes, rows, expert_ids_.as<int32_t>(), step.first_token_index}));
  lap(times_.dispatch_ns);

  // The shared expert runs at home while rows are on their way.
  if (w.shared && (rows > 0 || joint_.joined())) {
    const Rows own = w.shared->gate_up.dtype == limits_.expert_dtype
                         ? x
                         : ops_.pack(w.shared->gate_up.dtype, normed_.as<float>(), config_.hidden,
                                     rows, config_.hidden, packed_);
    WS_RETURN_IF_ERROR(
        joint_.mlp(own, *w.shared, act_, packed_act_, branch_.as<float>(), config_.hidden));
  }
  lap(times_.shared_ns);

  WS_ASSIGN(const ReceivedRows received, exchange_->receive());
  lap(times_.dispatch_ns);
  group_gemm_->run(experts_.experts[static_cast<size_t>(moe_index)], received);
  lap(times_.group_gemm_ns);
  WS_RETURN_IF_ERROR(exchange_->send_outputs());
  WS_RETURN_IF_ERROR(exchange_->combine(ops_.kernels(), expert_weights_.as<float>(),
                                        combined_.as<float>(), config_.hidden));
  // Rule 3: the experts' sum, then the shared expert, then one addition to the residual stream.
  if (w.shared) {
    auto* sum = combined_.as<float>();
    const auto* shared = branch_.as<float>();
    for (int64_t i = 0; i < rows * config_.hidden; ++i) sum[i] = sum[i] + shared[i];
  }
  add(combined_.as<float>(), rows);
  const std::array sources = {
      Source{Tensor::kMlpNorm, normed_.as<float>(), config_.hidden},
      Source{Tensor::kRouterLogits, router_logits_.as<float>(), config_.moe.router.experts},
      Source{Tensor::kSharedExpert, w.shared ? branch_.as<float>() : normed_.as<float>(),
             config_.hidden},
      Source{Tensor::kExperts, combined_.as<float>(), config_.hidden}};
  find_faults(rows, layer, sources);
  lap(times_.combine_ns);
  return {};
}

int64_t ForwardPass::head_rounds(const StepInput& step) const {
  if (head_exchange_ != nullptr) return step.head_rounds;
  return (static_cast<int64_t>(step.logit_rows.size()) + head_rows_ - 1) / head_rows_;
}

Expected<HeadRows> ForwardPass::head(int64_t step_number, const StepInput& step, int64_t round) {
  mark_ns_ = clock_.now_ns();
  auto* gathered = normed_.as<float>();
  const int64_t begin = round * head_rows_;
  const auto count = static_cast<int64_t>(step.logit_rows.size());
  const int64_t rows = std::clamp<int64_t>(count - begin, 0, head_rows_);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = step.logit_rows[static_cast<size_t>(begin + i)];
    std::memcpy(gathered + i * config_.hidden, hidden_.as<float>() + row * config_.hidden,
                floats(config_.hidden));
  }
  ops_.rms_norm(gathered, config_.hidden, weights_.final_norm, config_.rms_eps, gathered,
                config_.hidden, rows);
  const Rows x =
      ops_.pack(weights_.head.dtype, gathered, config_.hidden, rows, config_.hidden, packed_);
  if (head_exchange_ != nullptr) {
    WS_RETURN_IF_ERROR(head_over_group(step_number, x));
  } else {
    const std::array logits = {
        Product{&weights_.head, nullptr, logits_.as<float>(), config_.vocab}};
    ops_.multiply(x, logits);
  }
  summarize_logits(rows);
  lap(times_.head_ns);
  return HeadRows{begin, rows, config_.vocab, logits_.as<float>(),
                  std::span(summaries_).first(static_cast<size_t>(rows))};
}

// Logits of this rank's rows, by way of all ranks, each with its columns of all rows.
Status ForwardPass::head_over_group(int64_t step_number, const Rows& x) {
  WS_ASSIGN(const auto places, head_exchange_->gather(step_number, x.data, x.stride_bytes, x.rows));
  const int64_t first = head_exchange_->first_column(), width = head_exchange_->columns();
  const int64_t panels = (width + kPanel - 1) / kPanel, skipped = first / kPanel;
  if (!places.empty() && panels > 0) {
    LinearArgs args;
    args.x = gathered_rows(x.dtype, places.data(), static_cast<int64_t>(places.size()), x.cols);
    args.w = &weights_.head;
    args.y = head_part_.as<float>();
    args.y_panel = skipped;
    args.y_stride = width;
    const int64_t groups = (panels + kGroup - 1) / kGroup;
    run_ranges(ops_.pool(), groups, 1, [&](int64_t, int64_t begin, int64_t end) {
      LinearArgs part = args;
      part.panel_begin = skipped + begin * kGroup;
      part.panel_end = skipped + std::min(panels, end * kGroup);
      ops_.kernels().linear(part);
    });
  }
  return head_exchange_->scatter(head_part_.as<float>(), logits_.as<float>());
}

void ForwardPass::summarize_logits(int64_t rows) {
  ops_.pool().run(rows, [&](int64_t i) {
    summaries_[static_cast<size_t>(i)] =
        summarize(ops_.kernels(),
                  {logits_.as<float>() + i * config_.vocab, static_cast<size_t>(config_.vocab)});
  });
}

}  // namespace wingspan
