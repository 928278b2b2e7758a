#include "model/weights.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cmath>
#include <cstring>
#include <mutex>

#include "base/check.h"
#include "base/fault.h"
#include "kernels/finite.h"

namespace wingspan {
namespace {

// Runs tasks on the pool; the first error (by index) wins, and later tasks are skipped.
Status run_tasks(Pool& pool, int64_t count, const std::function<Status(int64_t)>& task) {
  std::mutex mutex;
  int64_t first = count;
  Status status;
  std::atomic<bool> stop{false};
  pool.run(count, [&](int64_t i) {
    if (stop.load(std::memory_order_relaxed)) return;
    Status s = task(i);
    if (s) return;
    const std::lock_guard lock(mutex);
    stop = true;
    if (i < first) {
      first = i;
      status = std::move(s);
    }
  });
  return status;
}

// One value of a raw matrix [n, k], dequantised.
float raw_value(const RawTensor& raw, int64_t n, int64_t k, int64_t row, int64_t col) {
  const auto i = static_cast<size_t>(row * k + col);
  switch (raw.dtype) {
    case DType::kF32: {
      float v;
      std::memcpy(&v, raw.bytes.data() + i * 4, 4);
      return v;
    }
    case DType::kBF16: {
      uint16_t v;
      std::memcpy(&v, raw.bytes.data() + i * 2, 2);
      return bf16_to_f32(v);
    }
    default: {
      WS_CHECK(raw.dtype == DType::kF8E4M3 && row < n);
      const int64_t scale = row / kFp8Block * fp8_blocks(k) + col / kFp8Block;
      return e4m3_to_f32(static_cast<uint8_t>(raw.bytes[i])) *
             raw.scales[static_cast<size_t>(scale)];
    }
  }
}

bool is_finite(const RawTensor& raw) {
  const auto count = static_cast<int64_t>(raw.bytes.size()) / dtype_size(raw.dtype);
  const std::byte* p = raw.bytes.data();
  switch (raw.dtype) {
    case DType::kF32:
      return all_finite(reinterpret_cast<const float*>(p), count);
    case DType::kBF16:
      return all_finite_bf16(reinterpret_cast<const uint16_t*>(p), count);
    default:
      return all_finite_e4m3(reinterpret_cast<const uint8_t*>(p), count) &&
             all_finite(raw.scales.data(), static_cast<int64_t>(raw.scales.size()));
  }
}

// A weight that is not finite leaves no answer defined, so it is refused when it is read. `as_read`
// is false where the value was finite in the file and became infinite by rounding to BF16.
Status check_finite(const TensorSpec& spec, const RawTensor& raw, bool as_read) {
  if (is_finite(raw)) return {};
  const int64_t cols = spec.shape.back();
  const int64_t rows = spec.shape.size() == 2 ? spec.shape[0] : 1;
  for (int64_t i = 0; i < rows * cols; ++i) {
    const float value = raw_value(raw, rows, cols, i / cols, i % cols);
    if (std::isfinite(value)) continue;
    const std::string place = spec.shape.size() == 2
                                  ? fmt::format("row {}, column {}", i / cols, i % cols)
                                  : fmt::format("index {}", i);
    return invalid_input(
        fmt::format("the weights are not finite: tensor {} has {} in {}{}, so no prompt has a "
                    "result from position 0 on",
                    spec.name, std::isnan(value) ? "NaN" : "infinity", place,
                    as_read ? "" : " once rounded to BF16"),
        "checkpoint", as_read ? "get or convert the checkpoint again" : "use --compute f32");
  }
  return invalid_input(
      fmt::format("the weights are not finite: tensor {} has a scale that is not", spec.name),
      "checkpoint", "get or convert the checkpoint again");
}

// Reads tensors of one layer or expert, each thread with its own scratch.
class Reader {
 public:
  Reader(const WeightSource& source, ComputeMode compute, LoadProgress* progress)
      : source_(source), compute_(compute), progress_(progress) {}

  Expected<const RawTensor*> raw(const TensorSpec& spec, RawTensor& into) {
    WS_RETURN_IF_ERROR(source_.read(spec, into));
    if (progress_ != nullptr) progress_->bytes_done += static_cast<int64_t>(into.bytes.size());
    WS_RETURN_IF_ERROR(check_finite(spec, into, true));
    if (stored_weight_type(compute_, into.dtype) == DType::kBF16 && into.dtype == DType::kF32) {
      round_to_bf16(into);
      WS_RETURN_IF_ERROR(check_finite(spec, into, false));
    }
    return &into;
  }

  Expected<PackedWeight> matrix(const TensorSpec& spec) {
    WS_ASSIGN(const RawTensor* t, raw(spec, first_));
    return pack_weight(t->dtype, spec.shape[0], spec.shape[1], t->bytes.data(),
                       t->scales.empty() ? nullptr : t->scales.data());
  }

  // A vector (norm weight, router bias) as float32, whatever the compute mode.
  Expected<std::vector<float>> vector(const TensorSpec& spec) {
    WS_RETURN_IF_ERROR(source_.read(spec, first_));
    WS_RETURN_IF_ERROR(check_finite(spec, first_, true));
    std::vector<float> out(static_cast<size_t>(spec.shape[0]));
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = raw_value(first_, 1, spec.shape[0], 0, static_cast<int64_t>(i));
    }
    return out;
  }

  Expected<MlpWeights> mlp(const TensorSpec& gate, const TensorSpec& up, const TensorSpec& down) {
    WS_ASSIGN(const RawTensor* g, raw(gate, first_));
    WS_ASSIGN(const RawTensor* u, raw(up, second_));
    if (g->dtype != u->dtype) {
      return invalid_input(fmt::format("{} is {}, {} is {}", gate.name, dtype_name(g->dtype),
                                       up.name, dtype_name(u->dtype)),
                           "", "gate and up projections must have one dtype");
    }
    MlpWeights out;
    out.gate_up = pack_gate_up(g->dtype, gate.shape[0], gate.shape[1], g->bytes.data(),
                               g->scales.empty() ? nullptr : g->scales.data(), u->bytes.data(),
                               u->scales.empty() ? nullptr : u->scales.data());
    WS_ASSIGN(out.down, matrix(down));
    return out;
  }

 private:
  static void round_to_bf16(RawTensor& t) {
    const size_t n = t.bytes.size() / 4;
    for (size_t i = 0; i < n; ++i) {
      float v;
      std::memcpy(&v, t.bytes.data() + i * 4, 4);
      const uint16_t bits = f32_to_bf16(v);
      std::memcpy(t.bytes.data() + i * 2, &bits, 2);
    }
    t.bytes.resize(n * 2);
    t.dtype = DType::kBF16;
  }

  const WeightSource& source_;
  ComputeMode compute_;
  LoadProgress* progress_;
  RawTensor first_, second_;
};

// Readers for as many tasks as run at a time, so that their scratch is grown once.
class Readers {
 public:
  Readers(const WeightSource& source, ComputeMode compute, LoadProgress* progress)
      : source_(source), compute_(compute), progress_(progress) {}

  template <class Use>
  Status with(const Use& use) {
    std::unique_ptr<Reader> reader;
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        reader = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    if (!reader) reader = std::make_unique<Reader>(source_, compute_, progress_);
    Status status = use(*reader);
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(reader));
    return status;
  }

 private:
  const WeightSource& source_;
  ComputeMode compute_;
  LoadProgress* progress_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Reader>> idle_;
};

// kv_b [heads · (nope + v), latent] -> per head UK (transposed: latent outputs, nope inputs) and
// UV. FP8 is dequantised here: a head's rows need not lie on the 128-row grid of the scales.
void split_kv_b(const MlaConfig& c, ComputeMode compute, const RawTensor& raw, MlaWeights& out) {
  const int64_t n = c.heads * (c.nope + c.v), k = c.kv_lora;
  const bool bf16 =
      raw.dtype == DType::kBF16 || (raw.dtype == DType::kF8E4M3 && compute == ComputeMode::kBF16);
  const DType stored = bf16 ? DType::kBF16 : DType::kF32;
  const auto size = static_cast<size_t>(dtype_size(stored));
  const auto put = [&](std::vector<std::byte>& to, int64_t i, float value) {
    if (bf16) {
      const uint16_t bits = f32_to_bf16(value);
      std::memcpy(to.data() + static_cast<size_t>(i) * size, &bits, size);
    } else {
      std::memcpy(to.data() + static_cast<size_t>(i) * size, &value, size);
    }
  };
  std::vector<std::byte> uk(static_cast<size_t>(c.nope * k) * size);
  std::vector<std::byte> uv(static_cast<size_t>(c.v * k) * size);
  for (int64_t h = 0; h < c.heads; ++h) {
    const int64_t base = h * (c.nope + c.v);
    for (int64_t r = 0; r < c.nope; ++r) {
      for (int64_t i = 0; i < k; ++i) put(uk, i * c.nope + r, raw_value(raw, n, k, base + r, i));
    }
    for (int64_t r = 0; r < c.v; ++r) {
      for (int64_t i = 0; i < k; ++i) {
        put(uv, r * k + i, raw_value(raw, n, k, base + c.nope + r, i));
      }
    }
    out.uk.push_back(pack_weight(stored, k, c.nope, uk.data(), nullptr));
    out.uv.push_back(pack_weight(stored, c.v, k, uv.data(), nullptr));
  }
}

// The specs of a layer by the last parts of their names.
class SpecTable {
 public:
  SpecTable(const ModelConfig& config, int layer) : specs_(layer_tensors(config, layer)) {
    prefix_ = fmt::format("model.layers.{}.", layer);
  }
  const TensorSpec& operator()(const std::string& suffix) const {
    for (const TensorSpec& s : specs_) {
      if (s.name == prefix_ + suffix) return s;
    }
    WS_CHECK(false, "no tensor {}{} in this family", prefix_, suffix);
  }

 private:
  std::vector<TensorSpec> specs_;
  std::string prefix_;
};

Expected<MlaWeights> load_mla(const ModelConfig& config, ComputeMode compute, const SpecTable& spec,
                              Reader& reader) {
  MlaWeights out;
  const MlaConfig& c = config.mla;
  out.compressed_query = c.q_lora > 0;
  if (out.compressed_query) {
    WS_ASSIGN(out.q_a, reader.matrix(spec("self_attn.q_a_proj.weight")));
    WS_ASSIGN(out.q_a_norm, reader.vector(spec("self_attn.q_a_layernorm.weight")));
    WS_ASSIGN(out.q_b, reader.matrix(spec("self_attn.q_b_proj.weight")));
  } else {
    WS_ASSIGN(out.q_b, reader.matrix(spec("self_attn.q_proj.weight")));
  }
  WS_ASSIGN(out.kv_a, reader.matrix(spec("self_attn.kv_a_proj_with_mqa.weight")));
  WS_ASSIGN(out.kv_a_norm, reader.vector(spec("self_attn.kv_a_layernorm.weight")));
  RawTensor kv_b;
  WS_ASSIGN(const RawTensor* raw, reader.raw(spec("self_attn.kv_b_proj.weight"), kv_b));
  split_kv_b(c, compute, *raw, out);
  WS_ASSIGN(out.o, reader.matrix(spec("self_attn.o_proj.weight")));
  return out;
}

Status load_layer(const ModelConfig& config, ComputeMode compute, int layer, Reader& reader,
                  LayerWeights& out) {
  const SpecTable spec(config, layer);
  WS_ASSIGN(out.input_norm, reader.vector(spec("input_layernorm.weight")));
  WS_ASSIGN(out.post_attention_norm, reader.vector(spec("post_attention_layernorm.weight")));
  WS_ASSIGN(out.mla, load_mla(config, compute, spec, reader));
  if (config.mlp[static_cast<size_t>(layer)] == MlpKind::kDense) {
    WS_ASSIGN(out.dense, reader.mlp(spec("mlp.gate_proj.weight"), spec("mlp.up_proj.weight"),
                                    spec("mlp.down_proj.weight")));
    return {};
  }
  MoeWeights moe;
  WS_ASSIGN(moe.router, reader.matrix(spec("mlp.gate.weight")));
  if (config.moe.router_bias) {
    WS_ASSIGN(moe.bias, reader.vector(spec("mlp.gate.e_score_correction_bias")));
  }
  if (config.moe.shared_width > 0) {
    WS_ASSIGN(moe.shared, reader.mlp(spec("mlp.shared_experts.gate_proj.weight"),
                                     spec("mlp.shared_experts.up_proj.weight"),
                                     spec("mlp.shared_experts.down_proj.weight")));
  }
  out.moe = std::move(moe);
  return {};
}

int64_t spec_bytes(const WeightSource& source, const TensorSpec& spec) {
  int64_t elements = 1;
  for (int64_t d : spec.shape) elements *= d;
  const auto dtype = source.dtype(spec);
  return dtype ? elements * dtype_size(*dtype) : 0;
}

int64_t layer_bytes(const LayerWeights& l) {
  auto floats = static_cast<int64_t>(l.input_norm.size() + l.post_attention_norm.size() +
                                     l.mla.q_a_norm.size() + l.mla.kv_a_norm.size());
  int64_t bytes = l.mla.q_a.bytes() + l.mla.q_b.bytes() + l.mla.kv_a.bytes() + l.mla.o.bytes();
  for (const auto& w : l.mla.uk) bytes += w.bytes();
  for (const auto& w : l.mla.uv) bytes += w.bytes();
  if (l.dense) bytes += l.dense->bytes();
  if (l.moe) {
    bytes += l.moe->router.bytes() + (l.moe->shared ? l.moe->shared->bytes() : 0);
    floats += static_cast<int64_t>(l.moe->bias.size());
  }
  return bytes + floats * 4;
}

}  // namespace

Expected<std::unique_ptr<ModelWeights>> load_model_weights(const ModelConfig& config,
                                                           const WeightSource& source,
                                                           ComputeMode compute, Pool& pool,
                                                           LoadProgress* progress) {
  auto out = std::make_unique<ModelWeights>();
  out->layers.resize(static_cast<size_t>(config.layers));
  const auto globals = global_tensors(config);
  if (progress != nullptr) {
    int64_t total = 0;
    for (const auto& spec : globals) total += spec_bytes(source, spec);
    for (int l = 0; l < config.layers; ++l) {
      for (const auto& spec : layer_tensors(config, l)) total += spec_bytes(source, spec);
    }
    progress->bytes_total += total;
  }
  Readers readers(source, compute, progress);
  const auto load_part = [&](int64_t i, Reader& reader) -> Status {
    if (i < config.layers) {
      return load_layer(config, compute, static_cast<int>(i), reader,
                        out->layers[static_cast<size_t>(i)]);
    }
    // Order of global_tensors: embedding, final norm, head (absent when tied).
    if (i == config.layers) {
      WS_RETURN_IF_ERROR(reader.raw(globals[0], out->embedding));
      WS_ASSIGN(out->final_norm, reader.vector(globals[1]));
      return {};
    }
    WS_ASSIGN(out->head, reader.matrix(config.tied_embeddings ? globals[0] : globals[2]));
    return {};
  };
  WS_RETURN_IF_ERROR(run_tasks(pool, config.layers + 2, [&](int64_t i) {
    return readers.with([&](Reader& reader) { return load_part(i, reader); });
  }));
  out->bytes = static_cast<int64_t>(out->embedding.bytes.size()) + out->head.bytes() +
               static_cast<int64_t>(out->final_norm.size()) * 4;
  for (const auto& l : out->layers) out->bytes += layer_bytes(l);
  return out;
}

namespace {

uint64_t digest(const MlpWeights& w) {
  uint64_t hash = XXH3_64bits(w.gate_up.data.data(), w.gate_up.data.size());
  for (const Buffer* b : {&w.gate_up.scales, &w.down.data, &w.down.scales}) {
    if (b->size() > 0) hash = XXH3_64bits_withSeed(b->data(), b->size(), hash);
  }
  return hash;
}

bool first_replica(const LayerPlacement& layer, int slot) {
  const int expert = layer.slot_to_expert[static_cast<size_t>(slot)];
  for (int s = 0; s < slot; ++s) {
    if (layer.slot_to_expert[static_cast<size_t>(s)] == expert) return false;
  }
  return true;
}

}  // namespace

Expected<RankExperts> load_rank_experts(const ModelConfig& config, const WeightSource& source,
                                        ComputeMode compute, const Placement& placement, int rank,
                                        Pool& pool, LoadProgress* progress) {
  const auto moe_layers = config.moe_layers();
  const Topology& topology = placement.topology;
  const int slots = topology.rank_slots[static_cast<size_t>(rank)];
  const int first_slot = topology.first_slot(rank);
  RankExperts out;
  out.experts.resize(moe_layers.size());
  out.digests.resize(moe_layers.size());
  for (size_t m = 0; m < moe_layers.size(); ++m) {
    out.experts[m].resize(static_cast<size_t>(slots));
    out.digests[m].resize(static_cast<size_t>(slots));
  }
  if (slots == 0) return out;
  if (progress != nullptr) {
    for (int layer : moe_layers) {
      for (const auto& s : expert_tensors(config, layer, 0)) {
        progress->bytes_total += spec_bytes(source, s) * slots;
      }
    }
  }
  Readers readers(source, compute, progress);
  const auto load_slot = [&](int64_t i, Reader& reader) -> Status {
    const auto m = static_cast<size_t>(i / slots), s = static_cast<size_t>(i % slots);
    const LayerPlacement* layer = placement.find_layer(moe_layers[m]);
    WS_CHECK(layer != nullptr, "layer {} has no placement", moe_layers[m]);
    const int slot = first_slot + static_cast<int>(s);
    const int expert = layer->slot_to_expert[static_cast<size_t>(slot)];
    const auto specs = expert_tensors(config, moe_layers[m], expert);
    WS_ASSIGN(out.experts[m][s], reader.mlp(specs[0], specs[1], specs[2]));
    MlpWeights& w = out.experts[m][s];
    out.digests[m][s] = digest(w);
    if (fault_is(Fault::kFlipReplicaBit) && !first_replica(*layer, slot)) {
      w.down.data.data()[0] ^= std::byte{0x40};
    }
    return {};
  };
  WS_RETURN_IF_ERROR(
      run_tasks(pool, static_cast<int64_t>(moe_layers.size()) * slots, [&](int64_t i) {
        return readers.with([&](Reader& reader) { return load_slot(i, reader); });
      }));
  for (const auto& layer : out.experts) {
    for (const auto& e : layer) out.bytes += e.bytes();
  }
  return out;
}

}  // namespace wingspan
