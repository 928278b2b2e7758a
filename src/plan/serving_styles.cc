#include "plan/serving_styles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace wingspan {
namespace {

PlanModel dense_twin(const PlanModel& m) {
  PlanModel out = m;
  // Layers without experts keep their own width: the twin has the mean.
  const double expert_layer = m.experts * m.expert_width + m.shared_width;
  out.dense_width = (m.dense_layers * m.dense_width + m.moe_layers() * expert_layer) / m.layers;
  out.dense_layers = m.layers;
  out.experts = out.top_k = out.expert_width = out.shared_width = 0;
  return out;
}

PlanScenario of_width(const PlanScenario& base, double ep, double slots, Balancing balancing) {
  PlanScenario s = base;
  s.phase = Phase::kDecode;
  s.gpus = s.ep = s.attention_dp = ep;
  s.attention_tp = 1;
  s.slots = slots;
  s.balancing = balancing;
  s.batch_per_gpu.reset();
  return s;
}

}  // namespace

std::vector<ServingStyle> serving_styles(const PlanModel& model, const PlanScenario& base,
                                         const StyleWidths& w) {
  const double experts = model.experts;
  std::vector<ServingStyle> out;
  PlanScenario dense = of_width(base, 1, 0, Balancing::kPerfect);
  dense.gpus = dense.attention_tp = w.standard;
  // The dense MLP counts with the attention's weights: it gets the experts' dtype.
  dense.attention_math = base.attention_math ? base.attention_math : base.attention;
  dense.attention = base.experts;
  out.push_back({"dense",
                 fmt::format("every token through every weight, split over {:g} GPUs", w.standard),
                 dense_twin(model), dense});
  out.push_back({fmt::format("standard EP{:g}", w.standard),
                 fmt::format("{:g} experts a GPU and layer", experts / w.standard), model,
                 of_width(base, w.standard, experts, Balancing::kNone)});
  out.push_back({fmt::format("Wide-EP{:g}", w.wide),
                 fmt::format("{:g} experts a GPU and layer, placed in order", experts / w.wide),
                 model, of_width(base, w.wide, experts, Balancing::kNone)});
  out.push_back({fmt::format("Wide-EP{:g} + EPLB", w.wide),
                 fmt::format("{:g} slots a GPU and layer, placed by load, {:g} of them replicas",
                             (experts + w.redundant) / w.wide, w.redundant),
                 model, of_width(base, w.wide, experts + w.redundant, Balancing::kStatic)});
  return out;
}

Expected<std::optional<Prediction>> largest_within(const ServingStyle& style, const PlanGpu& gpu,
                                                   const PlanConstants& constants, double itl_ms) {
  PlanScenario s = style.scenario;
  WS_RETURN_IF_ERROR(validate_scenario(s, style.model, style.name));
  WS_ASSIGN(const Prediction full, predict(style.model, gpu, s, constants));
  std::optional<Prediction> best;
  // ITL rises with the batch: the largest that holds lies in [low, high], where 0 is none.
  for (double low = 0, high = std::floor(full.memory.max_batch_per_gpu); low < high;) {
    const double middle = std::ceil((low + high) / 2);
    s.batch_per_gpu = middle;
    WS_ASSIGN(const Prediction p, predict(style.model, gpu, s, constants));
    if (p.itl_ms > itl_ms) {
      high = middle - 1;
    } else {
      low = middle;
      best = p;
    }
  }
  return best;
}

}  // namespace wingspan
