#include "cli/plan_search_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cli/plan_inputs.h"
#include "cli/plan_load.h"

namespace wingspan {
namespace {

// Formats in which published deployments of such hardware run.
Status set_dtypes(const SearchOptions& o, const PlanModel& model, const PlanGpu& gpu,
                  PlanScenario& s) {
  const bool mxfp4 = model.name.find("gpt-oss") != std::string::npos;
  std::string dtype = o.dtype;
  if (dtype == "auto") dtype = gpu.fp4 > 0 || mxfp4 ? "fp4" : gpu.fp8 > 0 ? "fp8" : "bf16";
  if (dtype == "fp8" && gpu.fp8 <= 0) {
    return invalid_input(gpu.name + " has no FP8 units", "--dtype", "use bf16 or auto");
  }
  s.attention = dtype == "bf16" || mxfp4 ? PlanDType::kBf16 : PlanDType::kFp8;
  s.kv = dtype == "bf16" || gpu.fp8 <= 0 ? PlanDType::kBf16 : PlanDType::kFp8;
  s.combine = PlanDType::kBf16;
  if (dtype == "fp4") {
    s.experts = mxfp4 ? PlanDType::kMxfp4 : PlanDType::kNvfp4;
    s.dispatch = gpu.fp4 > 0 && !mxfp4 ? PlanDType::kNvfp4 : PlanDType::kFp8;
  } else {
    s.experts = s.dispatch = dtype == "fp8" ? PlanDType::kFp8 : PlanDType::kBf16;
  }
  return {};
}

Expected<Balancing> balancing_of(const std::string& name) {
  for (const Balancing b : {Balancing::kNone, Balancing::kUntuned, Balancing::kStatic,
                            Balancing::kOnline, Balancing::kPerfect}) {
    if (name == name_of(b)) return b;
  }
  return invalid_input("unknown state \"" + name + "\"", "--eplb");
}

// By width and slots, each placed once.
Expected<ImbalanceOf> imbalance_of(const std::string& path, const PlanModel& model) {
  if (path.empty()) return ImbalanceOf();
  WS_ASSIGN(LoadMatrix load, recorded_load(path, model));
  using Known = std::map<std::pair<int, int>, double>;
  return ImbalanceOf([load = std::make_shared<const LoadMatrix>(std::move(load)),
                      known = std::make_shared<Known>()](int ep, int slots) {
    const auto [at, fresh] = known->try_emplace({ep, slots}, 1);
    if (fresh) at->second = placed_imbalance(*load, ep, slots);
    return at->second;
  });
}

}  // namespace

Expected<SearchInputs> search_inputs(const SearchOptions& o, int gpus) {
  WS_ASSIGN(PlanModel model, plan_model(o.model));
  WS_ASSIGN(PlanGpu gpu, plan_gpu(o.hardware));
  WS_ASSIGN(const PlanConstants constants, plan_constants(o.constants));
  PlanScenario base;
  base.gpus = gpus;
  base.isl = o.isl;
  base.osl = o.osl;
  base.cached_fraction = o.cached_fraction;
  WS_ASSIGN(base.balancing, balancing_of(o.eplb));
  WS_RETURN_IF_ERROR(set_dtypes(o, model, gpu, base));
  WS_ASSIGN(ImbalanceOf imbalance, imbalance_of(o.load, model));
  SearchInputs in;
  in.price_column = gpu.price_column;
  in.usd_gpu_hour = gpu.usd_hour;
  in.context.isl = o.isl;
  in.context.osl = o.osl;
  in.context.usd_gpu_hour = gpu.usd_hour;
  in.formulas = std::make_shared<const PredictServing>(std::move(model), std::move(gpu), constants,
                                                       base, std::move(imbalance));
  in.context.scenario = [formulas = in.formulas](const Candidate& c) {
    return json_of_scenario(formulas->scenario_of(c));
  };
  return in;
}

}  // namespace wingspan
