// Changes to a question, each predicted anew.
#include <fmt/format.h>

#include <algorithm>

#include "plan/explain.h"

namespace wingspan {
namespace {

struct Question {
  PlanModel model;
  PlanGpu gpu;
  PlanScenario scenario;
};

WhatIf ask(std::string change, const Question& q, const PlanConstants& c, const Prediction& now) {
  WhatIf out;
  out.change = std::move(change);
  const Status valid = validate_scenario(q.scenario, q.model, "scenario");
  if (!valid) {
    out.refusal = valid.error().message();
    return out;
  }
  auto p = predict(q.model, q.gpu, q.scenario, c);
  if (!p) {
    out.refusal = p.error().message();
    return out;
  }
  out.effect = p->tokens_per_s_per_gpu / now.tokens_per_s_per_gpu - 1;
  out.prediction = *p;
  return out;
}

// Twice the load on every GPU; in words what was doubled.
std::string double_load(PlanScenario& s, const Prediction& now) {
  if (s.phase == Phase::kPrefill) {
    s.tokens_per_gpu *= 2;
    return fmt::format("tokens_per_gpu x2 ({:g})", s.tokens_per_gpu);
  }
  if (s.concurrency) {
    s.concurrency = *s.concurrency * 2;
    return fmt::format("concurrency x2 ({:g})", *s.concurrency);
  }
  s.batch_per_gpu = now.batch_per_gpu * 2;
  return fmt::format("batch x2 ({:.4g} per GPU)", *s.batch_per_gpu);
}

// Twice the width over at least twice the GPUs; figures per GPU stay comparable.
std::string double_width(PlanScenario& s, const Prediction& now) {
  s.ep *= 2;
  s.attention_dp *= 2;
  const bool split = s.phase == Phase::kDisaggregated;
  if (s.group() > (split ? s.decode_gpus : s.gpus)) {
    s.gpus *= 2;
    s.prefill_gpus *= 2;
    s.decode_gpus *= 2;
    if (s.concurrency) s.concurrency = *s.concurrency * 2;
  }
  if (s.phase != Phase::kPrefill && !s.concurrency) s.batch_per_gpu = now.batch_per_gpu;
  return fmt::format("EP x2 (EP{:g}, the same load per GPU)", s.ep);
}

// The next narrower type that the GPU multiplies in; empty where there is none.
std::string narrow(PlanScenario& s, const PlanGpu& gpu, bool experts) {
  const PlanDType now = experts ? s.experts : s.attention;
  PlanDType next = PlanDType::kFp8;
  if (now == PlanDType::kBf16 && gpu.fp8 > 0) {
    next = PlanDType::kFp8;
  } else if (dtype_bytes(now) == 1 && gpu.fp4 > 0 && experts) {
    next = PlanDType::kNvfp4;
  } else {
    return "";
  }
  (experts ? s.experts : s.attention) = next;
  return fmt::format("{} {} instead of {}", experts ? "experts" : "attention", name_of(next),
                     name_of(now));
}

}  // namespace

std::vector<WhatIf> what_if(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
                            const PlanConstants& c, const Prediction& now) {
  std::vector<WhatIf> out;
  const Question same{model, gpu, s};
  const auto with = [&](auto change) {
    Question q = same;
    const std::string name = change(q);
    if (!name.empty()) out.push_back(ask(name, q, c, now));
  };
  with([&](Question& q) { return double_load(q.scenario, now); });
  if (model.experts > 0) {
    with([&](Question& q) { return double_width(q.scenario, now); });
    with([](Question& q) {
      q.gpu.scaleup_bytes_per_s *= 2;
      q.gpu.scaleup_pair_bytes_per_s *= 2;
      q.gpu.scaleout_bytes_per_s *= 2;
      return std::string("links x2");
    });
    with([](Question& q) {
      q.scenario.balancing = Balancing::kPerfect;
      return std::string("perfect balance");
    });
    with([&](Question& q) { return narrow(q.scenario, gpu, true); });
    if (PlanScenario test = s; narrow(test, gpu, true).empty()) {
      out.push_back(
          {"next dtype of the experts", std::nullopt, 0,
           fmt::format("{} multiplies in nothing narrower than {}", gpu.name, name_of(s.experts))});
    }
  }
  with([&](Question& q) { return narrow(q.scenario, gpu, false); });
  with([](Question& q) {
    q.gpu.hbm_bytes_per_s *= 2;
    return std::string("memory bandwidth x2");
  });
  with([](Question& q) {
    q.gpu.bf16 *= 2;
    q.gpu.fp8 *= 2;
    q.gpu.fp4 *= 2;
    return std::string("peak flops x2");
  });
  return out;
}

}  // namespace wingspan
