#include "cli/plan_search_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cli/plan_inputs.h"
#include "cli/plan_load.h"

namespace wingspan {
namespace {

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

// Tokens that a step gains by drafts from 1 on, checked.
Expected<std::vector<double>> acceptance(const SearchOptions& o, const PlanModel& model) {
  if (o.mtp_accepted.empty()) return published_acceptance();
  if (model.mtp_layers < 1) {
    return invalid_input(model.name + " has no MTP layer", "--mtp-accepted", "leave it out");
  }
  for (size_t i = 0; i < o.mtp_accepted.size(); ++i) {
    const double most = static_cast<double>(i) + 2;
    if (o.mtp_accepted[i] >= 1 && o.mtp_accepted[i] <= most) continue;
    return invalid_input(fmt::format("{:g} tokens a step with {} drafts", o.mtp_accepted[i], i + 1),
                         "--mtp-accepted", fmt::format("give a number from 1 to {:g}", most));
  }
  return o.mtp_accepted;
}

// The factors of an engine into `base`; its records need a configuration that they are of.
Status learn_engine(const SearchOptions& o, const PlanModel& model, const PlanGpu& gpu,
                    const PlanConstants& constants, PlanScenario& base,
                    std::vector<std::string>& assumptions) {
  if (!o.calibrate.records.empty() && o.calibrate.scenario.empty()) {
    return invalid_input("what the engine ran when it recorded is not said", "--calibrate",
                         "give --calibrate-scenario");
  }
  WS_ASSIGN(const auto calibration, read_calibration(o.calibrate, model, gpu, constants, base));
  if (!calibration) return {};
  base.phase = Phase::kDisaggregated;  // a search asks for both phases
  return use_calibration(*calibration, o.calibrate.records, base, &assumptions);
}

std::vector<std::string> assumptions_of(const SearchOptions& o, const PlanModel& model,
                                        const PlanScenario& s,
                                        const std::vector<double>& accepted) {
  std::vector<std::string> out = {fmt::format(
      "experts {}, attention {}, KV cache {}, dispatch {}, combine {}", name_of(s.experts),
      name_of(s.attention), name_of(s.kv), name_of(s.dispatch), name_of(s.combine))};
  if (model.experts > 0) {
    out.push_back(o.load.empty() ? "eplb " + o.eplb : "imbalance from the balancer on " + o.load);
  }
  if (model.mtp_layers < 1) {
    out.push_back(model.name + " has no MTP layer: one token a step");
    return out;
  }
  out.push_back(fmt::format("MTP gains {} tokens a step with 1 to {} drafts, as {}",
                            fmt::join(accepted, ", "), accepted.size(),
                            o.mtp_accepted.empty()
                                ? "published for DeepSeek-V3 and R1 (--mtp-accepted sets others)"
                                : "given"));
  return out;
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
  WS_RETURN_IF_ERROR(use_dtypes(o.dtype, model, gpu, base));
  WS_ASSIGN(ImbalanceOf imbalance, imbalance_of(o.load, model));
  WS_ASSIGN(const std::vector<double> accepted, acceptance(o, model));
  SearchInputs in;
  in.assumptions = assumptions_of(o, model, base, accepted);
  WS_RETURN_IF_ERROR(learn_engine(o, model, gpu, constants, base, in.assumptions));
  in.price_column = gpu.price_column;
  in.usd_gpu_hour = gpu.usd_hour;
  in.context.isl = o.isl;
  in.context.osl = o.osl;
  in.context.usd_gpu_hour = gpu.usd_hour;
  in.formulas = std::make_shared<const PredictServing>(std::move(model), std::move(gpu), constants,
                                                       base, std::move(imbalance), accepted);
  in.context.scenario = [formulas = in.formulas](const Candidate& c) {
    return json_of_scenario(formulas->scenario_of(c));
  };
  return in;
}

}  // namespace wingspan
