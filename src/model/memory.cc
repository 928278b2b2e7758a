#include "model/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "kernels/linear.h"
#include "kernels/mla_attention.h"
#include "model/joint_ops.h"
#include "model/kv_cache.h"
#include "model/step.h"

namespace wingspan {
namespace {

bool ends_with(const std::string& text, const char* suffix) {
  return text.size() >= std::char_traits<char>::length(suffix) &&
         text.compare(text.size() - std::char_traits<char>::length(suffix), std::string::npos,
                      suffix) == 0;
}

DType stored_type(const TensorSpec& spec, ComputeMode compute, DType checkpoint) {
  const bool fp8 = checkpoint == DType::kF8E4M3;
  if (fp8 && !spec.fp8_capable) return DType::kBF16;
  return stored_weight_type(compute, checkpoint);
}

int64_t kv_b_bytes(const ModelConfig& config, ComputeMode compute, DType stored) {
  const MlaConfig& c = config.mla;
  DType type = stored;
  if (stored == DType::kF8E4M3) {
    type = compute == ComputeMode::kBF16 ? DType::kBF16 : DType::kF32;
  }
  return c.heads *
         (packed_weight_bytes(type, c.kv_lora, c.nope) + packed_weight_bytes(type, c.v, c.kv_lora));
}

int64_t tensor_bytes(const ModelConfig& config, const TensorSpec& spec, ComputeMode compute,
                     DType checkpoint) {
  if (spec.shape.size() == 1) return spec.shape[0] * 4;
  const DType stored = stored_type(spec, compute, checkpoint);
  if (ends_with(spec.name, "kv_b_proj.weight")) return kv_b_bytes(config, compute, stored);
  return packed_weight_bytes(stored, spec.shape[0], spec.shape[1]);
}

// Scratch of one rank's step (model/forward.h, mla.h, group_gemm.h) and the rows in its windows.
int64_t activation_bytes(const MemoryQuestion& q) {
  const ModelConfig& c = *q.config;
  const MlaConfig& m = c.mla;
  const int64_t rows = q.max_rows_per_rank, slice = std::min<int64_t>(rows, 64);
  const int64_t q_width = m.heads * (m.nope + m.rope);
  const int64_t hidden_rows = 6 * c.hidden;
  const int64_t attention_rows = 2 * q_width + m.q_lora + m.kv_lora + m.rope + 2 * m.heads * m.v;
  const int64_t mlp_rows = 2 * std::max(c.dense_width, c.moe.shared_width);
  int64_t floats = rows * (hidden_rows + attention_rows + mlp_rows);
  floats += slice * m.heads * (mla_kv_stride(m.kv_lora, m.rope) + 2 * m.kv_lora);
  const int ranks = q.placement->topology.ranks();
  floats += head_rows(ranks) * c.vocab;
  // The head over the group, double-buffered: rows to all ranks, logits of this rank's columns to
  // them and of its rows from them.
  if (ranks > 1) {
    const int64_t all = head_rows(ranks) * ranks;
    floats += all * (2 * c.hidden + 3 * (c.vocab / ranks + 64)) + 2 * head_rows(ranks) * c.vocab;
  }
  if (q.local_ranks > 1 && joining_pays(c)) {
    const JointShape joint = joint_shape(c, std::min(rows, kJointRowsOfRank));
    floats += 2 * joint.max_rows * (joint.row_bytes / 4 + joint.outputs);
  }
  floats += q.kv_tokens_per_rank * m.rope;
  if (!c.moe_layers().empty()) {
    const int64_t k = c.moe.router.top_k;
    floats += rows * (c.moe.router.experts + 2 * k);
    floats += 1024 * (2 * c.hidden + 2 * c.moe.expert_width);
    // Windows, double-buffered: each row at most k times there, each output back.
    floats += 2 * rows * k * 2 * c.hidden;
  }
  return floats * 4;
}

int64_t cgroup_limit() {
  std::ifstream file("/sys/fs/cgroup/memory.max");
  std::string text;
  if (file >> text && text != "max") {
    try {
      return std::stoll(text);
    } catch (const std::exception&) {
    }
  }
  return std::numeric_limits<int64_t>::max();
}

int64_t machine_available() {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    int64_t kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %ld kB", &kib) == 1) return kib * 1024;
  }
  return std::numeric_limits<int64_t>::max();
}

std::string gib(int64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1 << 30));
}

}  // namespace

int64_t expert_bytes(const ModelConfig& config, ComputeMode compute, DType checkpoint_dtype) {
  if (config.moe_layers().empty()) return 0;
  const DType stored = stored_weight_type(compute, checkpoint_dtype);
  return packed_gate_up_bytes(stored, config.moe.expert_width, config.hidden) +
         packed_weight_bytes(stored, config.hidden, config.moe.expert_width);
}

int64_t kv_bytes_per_token(const ModelConfig& config, ComputeMode compute) {
  return config.layers * mla_kv_stride(config.mla.kv_lora, config.mla.rope) *
         dtype_size(kv_type(compute));
}

int64_t shared_weight_bytes(const ModelConfig& config, ComputeMode compute,
                            DType checkpoint_dtype) {
  int64_t total = 0;
  const auto globals = global_tensors(config);
  // The embedding is kept as rows, the head packed; tied ones are kept in both forms.
  for (const auto& spec : globals) total += tensor_bytes(config, spec, compute, checkpoint_dtype);
  if (config.tied_embeddings) {
    total += tensor_bytes(config, globals[0], compute, checkpoint_dtype);
  }
  for (int layer = 0; layer < config.layers; ++layer) {
    for (const auto& spec : layer_tensors(config, layer)) {
      total += tensor_bytes(config, spec, compute, checkpoint_dtype);
    }
  }
  return total;
}

MemoryPlan predict_memory(const MemoryQuestion& question) {
  MemoryPlan plan;
  const ModelConfig& config = *question.config;
  plan.shared_weights = shared_weight_bytes(config, question.compute, question.checkpoint_dtype);
  const int64_t one = expert_bytes(config, question.compute, question.checkpoint_dtype);
  const auto layers = static_cast<int64_t>(config.moe_layers().size());
  for (int r = 0; r < question.local_ranks && layers > 0; ++r) {
    const int rank = question.first_rank + r;
    plan.expert_weights +=
        layers * question.placement->topology.rank_slots[static_cast<size_t>(rank)] * one;
  }
  const int64_t tokens = (question.kv_tokens_per_rank + kKvBlock - 1) / kKvBlock * kKvBlock;
  plan.kv_cache = question.local_ranks * tokens * kv_bytes_per_token(config, question.compute);
  plan.activations = question.local_ranks * activation_bytes(question);
  return plan;
}

int64_t available_memory_bytes(int64_t limit) {
  const int64_t there = std::min(machine_available(), cgroup_limit());
  return limit > 0 ? std::min(limit, there) : there;
}

Status check_memory(const MemoryPlan& plan, int64_t available_bytes) {
  if (plan.total() <= available_bytes) return {};
  return invalid_input(
      fmt::format("the model needs {}: shared weights {}, experts {}, KV cache {}, activations {}; "
                  "{} are available",
                  gib(plan.total()), gib(plan.shared_weights), gib(plan.expert_weights),
                  gib(plan.kv_cache), gib(plan.activations), gib(available_bytes)),
      "memory", "use more machines, fewer or shorter sequences, or a smaller model");
}

}  // namespace wingspan
