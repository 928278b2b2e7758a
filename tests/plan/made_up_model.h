// A small cost model whose answers are known, for tests of what is built on the formulas.
#pragma once

#include "plan/queueing.h"
#include "plan/search.h"

namespace wingspan::test {

// Weights are read once a step and shared by the group, KV and flops grow with the batch, wider
// groups pay an exchange.
class MadeUp : public ServingModel {
 public:
  double weights_ms = 16, exchange_ms = 4, row_ms = 0.05, prefill_tokens_per_s_gpu = 20000;
  double memory_batch = 300, prompt_ms_per_token = 0.05;  // of 4096/1024
  double max_batch_per_gpu(const DecodeShape& s, bool) const override {
    return s.ep == 1 ? 0 : memory_batch * (1 - 1.5 / s.ep) / s.attention_tp;
  }
  StepFigures step(const DecodeShape& s, double batch, bool aggregated, double) const override {
    StepFigures f;
    const double rows = batch * (1 + s.mtp_depth);
    f.step_ms = 2 + weights_ms / s.ep * s.slots / 256 + (s.ep > 1 ? exchange_ms : 0) +
                row_ms * rows + 0.001 * s.ep + (s.attention_tp > 1 ? 1 : 0);
    f.accepted_per_step = s.mtp_depth == 0 ? 1 : 1.4 + 0.4 * s.mtp_depth;
    f.itl_ms = f.step_ms / f.accepted_per_step;
    if (aggregated) {
      const double wait = s.prefill_wait_steps, prompts = batch * f.accepted_per_step / 1024;
      const double most = poisson_max_mean(prompts * wait, s.ep) / wait;
      f.itl_ms += most * 4096 * prompt_ms_per_token / f.accepted_per_step;
    }
    f.bound_by = "weights";
    return f;
  }
  std::vector<StepPart> parts(const DecodeShape& s, double batch) const override {
    return {{"attention", 2 + row_ms * batch},
            {"experts", weights_ms / s.ep * s.slots / 256},
            {"dispatch", s.ep > 1 ? exchange_ms : 0}};
  }
  PrefillFigures prefill(const PrefillShape& s, const DecodeShape&) const override {
    return {s.ep >= 2, prefill_tokens_per_s_gpu * s.ep * (1 - 0.01 * s.ep), s.ep, 5};
  }
  PromptTime prompt_time(const DecodeShape&) const override {
    return {prompt_ms_per_token * 1e-3, 0};
  }
};

inline SearchLimits limits_72() {
  SearchLimits l;
  l.gpus = 72;
  l.isl = 4096;
  l.osl = 1024;
  l.ttft_ms = 1000;
  l.itl_ms = 12;
  return l;
}

}  // namespace wingspan::test
