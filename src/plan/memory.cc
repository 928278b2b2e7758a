#include <algorithm>
#include <cmath>

#include "plan/predict.h"

namespace wingspan {

double kv_bytes_beside(const PlanGpu& gpu, const PlanConstants& c, double weights) {
  return c.memory_share * gpu.hbm_bytes - weights - c.buffer_gb * 1e9;
}

bool prefill_fits(const PlanGpu& gpu, const PlanMemory& memory) {
  return memory.weights() <= 1.1 * gpu.hbm_bytes;
}

PlanMemory plan_memory(const PlanModel& m, const PlanGpu& gpu, const PlanScenario& s,
                       const PlanConstants& c, double ep, double slots) {
  PlanMemory out;
  const double mtp = s.mtp_k > 0 && m.experts > 0 ? 1 : 0;
  const double held = m.experts > 0 ? std::ceil(slots / ep - 1e-9) : 0;
  const double tp = ep == s.ep ? s.attention_tp : 1;
  const double split = ep == s.ep ? s.group() / ep : 1;  // GPUs that share an expert
  out.experts_bytes =
      held / split * (m.moe_layers() + mtp) * m.expert_params() * dtype_bytes(s.experts);
  out.attention_bytes = (m.layers + mtp) * m.attention_params() * dtype_bytes(s.attention) / tp;
  // The few dense layers of a model of experts are held whole; those of a dense model could not be.
  const double dense_split = m.experts > 0 ? 1 : tp;
  out.other_weights_bytes = (m.shared_params() * (m.moe_layers() + mtp) +
                             m.dense_params() * m.dense_layers / dense_split) *
                                dtype_bytes(s.attention) +
                            2 * m.vocab * m.hidden * 2;
  out.buffers_bytes = c.buffer_gb * 1e9;
  const double layer_token = m.kv_elements() * dtype_bytes(s.kv);
  out.kv_bytes_per_token = m.layers * layer_token;
  out.kv_bytes_free = kv_bytes_beside(gpu, c, out.weights());
  // A sequence at its full length; windowed layers keep their window. Attention TP splits heads,
  // but the latent of MLA (and KV heads beyond their number) is held by every GPU of it.
  const double full = std::max(1.0, s.isl + s.osl);
  const double seen = m.windowed_share > 0 ? std::min(full, m.window) : full;
  const double tokens = (1 - m.windowed_share) * full + m.windowed_share * seen;
  const double copies = m.mla ? tp : tp / std::min(tp, m.kv_heads);
  const double sequence = (m.layers + mtp) * layer_token * tokens * copies;
  out.max_batch_per_gpu = std::max(0.0, out.kv_bytes_free / sequence);
  if (s.phase == Phase::kPrefill) {
    out.fits = prefill_fits(gpu, out);
    return out;
  }
  out.fits = out.kv_bytes_free > 0 && out.max_batch_per_gpu * s.attention_dp * tp >= 1;
  return out;
}

}  // namespace wingspan
