// Counts of weights and bytes from the tensors that a config names.
#include "model/config.h"

namespace wingspan {
namespace {

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

int64_t elements(const TensorSpec& spec) {
  int64_t n = 1;
  for (const int64_t dim : spec.shape) n *= dim;
  return n;
}

int64_t elements(const std::vector<TensorSpec>& specs) {
  int64_t n = 0;
  for (const TensorSpec& spec : specs) n += elements(spec);
  return n;
}

// The part that a tensor outside the routed experts belongs to.
int64_t& part_of(const TensorSpec& spec, ParameterCount& count) {
  if (contains(spec.name, "norm")) return count.norms;
  if (contains(spec.name, "self_attn.")) return count.attention;
  if (contains(spec.name, "mlp.gate.")) return count.router;
  if (contains(spec.name, "shared_experts.")) return count.shared_experts;
  return count.dense_mlp;
}

int64_t stored_bytes(const TensorSpec& spec, DType dtype) {
  const bool fp8 = dtype == DType::kF8E4M3;
  if (contains(spec.name, "e_score_correction_bias")) return elements(spec) * 4;
  if (!fp8 || !spec.fp8_capable) return elements(spec) * dtype_size(fp8 ? DType::kBF16 : dtype);
  const auto blocks = [](int64_t n) { return (n + 127) / 128; };
  return elements(spec) + 4 * blocks(spec.shape[0]) * blocks(spec.shape[1]);
}

}  // namespace

ParameterCount count_parameters(const ModelConfig& config) {
  ParameterCount count;
  count.embedding_and_head = config.vocab * config.hidden * (config.tied_embeddings ? 1 : 2);
  count.norms = config.hidden;
  int64_t active_experts = 0;
  for (int layer = 0; layer < config.layers; ++layer) {
    for (const TensorSpec& spec : layer_tensors(config, layer)) {
      part_of(spec, count) += elements(spec);
    }
    if (config.mlp[static_cast<size_t>(layer)] != MlpKind::kMoe) continue;
    const int64_t one = elements(expert_tensors(config, layer, 0));
    count.routed_experts += one * config.moe.router.experts;
    active_experts += one * config.moe.router.top_k;
  }
  const int64_t others =
      count.attention + count.dense_mlp + count.shared_experts + count.router + count.norms;
  count.total = others + count.routed_experts + count.embedding_and_head;
  count.active_per_token = others + active_experts + config.vocab * config.hidden;
  return count;
}

int64_t checkpoint_bytes(const ModelConfig& config, DType dtype) {
  int64_t total = 0;
  for (const TensorSpec& spec : global_tensors(config)) total += stored_bytes(spec, dtype);
  for (int layer = 0; layer < config.layers; ++layer) {
    for (const TensorSpec& spec : layer_tensors(config, layer)) total += stored_bytes(spec, dtype);
    if (config.mlp[static_cast<size_t>(layer)] != MlpKind::kMoe) continue;
    total += config.moe.router.experts * expert_checkpoint_bytes(config, dtype);
  }
  return total;
}

int64_t expert_checkpoint_bytes(const ModelConfig& config, DType dtype) {
  const auto layers = config.moe_layers();
  int64_t total = 0;
  if (layers.empty()) return 0;
  for (const TensorSpec& spec : expert_tensors(config, layers.front(), 0)) {
    total += stored_bytes(spec, dtype);
  }
  return total;
}

}  // namespace wingspan
