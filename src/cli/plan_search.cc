// wingspan plan search: the deployment to run.
#include "cli/plan_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/console.h"
#include "cli/plan_search_inputs.h"
#include "cli/plan_search_report.h"

namespace wingspan {
namespace {

constexpr const char* kPlanSearchExamples = R"(Examples:
  wingspan plan search --model DeepSeek-V3 --hardware GB200 --gpus 72 --isl 4096 --osl 1024 \
      --ttft-ms 1000 --itl-ms 10
  wingspan plan search --model Qwen3-30B --hardware H100 --gpus 16 --isl 2048 --osl 512 \
      --ttft-ms 800 --itl-ms 25 --rate-rps 40 --json
)";

constexpr int kMaxGpus = 100000;

Status check_range(double value, double low, double high, const char* flag, const char* unit) {
  if (value >= low && value <= high) return {};
  return invalid_input(fmt::format("{:g} is not between {:g} and {:g}{}", value, low, high, unit),
                       flag);
}

Status check_options(const SearchOptions& o) {
  WS_RETURN_IF_ERROR(check_range(o.isl, 1, 1e7, "--isl", " tokens"));
  WS_RETURN_IF_ERROR(check_range(o.osl, 1, 1e7, "--osl", " tokens"));
  WS_RETURN_IF_ERROR(check_range(o.ttft_ms, 1e-3, 1e9, "--ttft-ms", " ms"));
  WS_RETURN_IF_ERROR(check_range(o.itl_ms, 1e-3, 1e9, "--itl-ms", " ms"));
  WS_RETURN_IF_ERROR(check_range(o.percentile, 50, 99.99, "--percentile", ""));
  WS_RETURN_IF_ERROR(check_range(o.cached_fraction, 0, 0.999, "--cached-fraction", ""));
  WS_RETURN_IF_ERROR(check_range(o.length_cv, 0, 3, "--length-cv", ""));
  WS_RETURN_IF_ERROR(check_range(o.usd_per_kwh, 0, 100, "--usd-per-kwh", ""));
  if (o.rate_rps)
    WS_RETURN_IF_ERROR(check_range(*o.rate_rps, 1e-6, 1e7, "--rate-rps", " a second"));
  if (o.budget_usd_hour) {
    WS_RETURN_IF_ERROR(check_range(*o.budget_usd_hour, 1e-3, 1e9, "--budget-usd-hour", " dollars"));
  }
  if (o.gpus) return check_range(static_cast<double>(*o.gpus), 1, kMaxGpus, "--gpus", "");
  if (o.budget_usd_hour) return {};
  return invalid_input("how many GPUs there are is not said", "--gpus",
                       "give --gpus, or --budget-usd-hour, or both");
}

Expected<ConfirmOptions> confirm_options(const SearchOptions& o) {
  ConfirmOptions c;
  c.length_cv = o.length_cv;
  c.seed = o.seed;
  if (o.arrivals == "burst") {
    c.arrivals = Arrivals::kBurst;
  } else if (o.arrivals != "poisson") {
    c.arrivals = Arrivals::kTrace;
    WS_ASSIGN(c.trace, read_trace(real_files(), o.arrivals));
  }
  return c;
}

Expected<SearchLimits> search_limits(const SearchOptions& o, const SearchInputs& inputs,
                                     const ConfirmOptions& confirm) {
  SearchLimits l;
  l.isl = o.isl;
  l.osl = o.osl;
  l.cached_fraction = o.cached_fraction;
  l.ttft_ms = o.ttft_ms;
  l.itl_ms = o.itl_ms;
  l.percentile = o.percentile;
  l.budget_usd_hour = o.budget_usd_hour;
  l.rate_rps = o.rate_rps;
  l.gpu_usd_hour = inputs.usd_gpu_hour;
  l.length_variation = o.length_cv * o.length_cv;
  l.arrival_variation = confirm.arrivals == Arrivals::kTrace ? arrival_variation(confirm.trace)
                                                             : arrival_variation(confirm.arrivals);
  if (o.budget_usd_hour && !(inputs.usd_gpu_hour > 0)) {
    return invalid_input("the price of " + inputs.formulas->gpu().name + " is not known",
                         "--budget-usd-hour", "give --hardware as JSON with a price, or --gpus");
  }
  double gpus = o.gpus ? static_cast<double>(*o.gpus) : kMaxGpus;
  if (!o.gpus) gpus = std::min(gpus, std::floor(*o.budget_usd_hour / inputs.usd_gpu_hour + 1e-9));
  l.gpus = std::max(1, static_cast<int>(gpus));
  return l;
}

// The front without what the simulation refused: nothing beyond the recommended is promised.
void settle_front(SearchReport& r) {
  const Candidate& best = r.decision.recommended->candidate;
  std::vector<Candidate>& front = r.result.pareto;
  std::erase_if(front, [&](const Candidate& c) {
    return c.tokens_per_s_per_gpu >= best.tokens_per_s_per_gpu ||
           c.tokens_per_s_per_user <= best.tokens_per_s_per_user;
  });
  front.insert(front.begin(), best);
}

// The figures of every candidate that is shown are those of predict() on its scenario.
Status predict_all(const PredictServing& model, SearchReport& r) {
  std::vector<Candidate*> shown;
  for (auto* finalist : {&r.decision.recommended, &r.decision.runner_up}) {
    if (*finalist) shown.push_back(&(*finalist)->candidate);
  }
  for (auto* list : {&r.result.pareto, &r.result.by_width}) {
    for (Candidate& c : *list) shown.push_back(&c);
  }
  if (r.decision.nearest) shown.push_back(&r.decision.nearest->candidate);
  if (r.result.nearest) shown.push_back(&*r.result.nearest);
  for (Candidate* c : shown) {
    WS_ASSIGN(*c, model.predicted(std::move(*c)));
  }
  return {};
}

Expected<SearchReport> run_search(const SearchOptions& o) {
  WS_RETURN_IF_ERROR(check_options(o));
  WS_ASSIGN(const ConfirmOptions confirm, confirm_options(o));
  WS_ASSIGN(const SearchInputs inputs,
            search_inputs(o, static_cast<int>(o.gpus.value_or(kMaxGpus))));
  SearchReport r;
  WS_ASSIGN(r.limits, search_limits(o, inputs, confirm));
  const PredictServing& model = *inputs.formulas;
  r.model = model.model().name;
  r.hardware = model.gpu().name;
  r.price_column = inputs.price_column;
  r.kw_per_gpu = model.gpu().all_in_kw;
  r.usd_per_kwh = o.usd_per_kwh;
  r.arrivals = o.arrivals;
  r.context = inputs.context;
  const int experts = std::max(1, static_cast<int>(model.model().experts));
  const auto domain = static_cast<int>(model.gpu().scaleup_domain);
  r.assumptions = inputs.assumptions;
  SearchSpace space = default_space(experts, r.limits.gpus, domain, model.model().mtp_layers > 0);
  std::erase_if(space.mtp_depths, [&](int depth) { return depth > model.mtp_depths(); });
  r.result = search(model, space, r.limits);
  r.decision = decide_finalists(model, r.limits, r.result.ranked, confirm);
  WS_RETURN_IF_ERROR(predict_all(model, r));
  if (!r.decision.recommended) {
    // The closed form let something pass; the simulation says which limit it breaks.
    if (const auto& refused = r.decision.nearest) {
      r.result.nearest = refused->candidate;
      r.result.broken = broken_limit(r.limits, refused->confirmation);
    }
    return r;
  }
  settle_front(r);
  const Candidate& best = r.decision.recommended->candidate;
  r.reason = reason(model, r.limits, best, r.result.by_width);
  if (r.decision.runner_up) {
    r.why_not_runner_up = why_not(r.limits, best, r.decision.runner_up->candidate);
  }
  r.sensitivity.push_back(wide_ep_advice(model, r.limits, experts, domain, r.result.by_width));
  for (Sensitivity& s : limit_costs(model, space, r.limits, r.result, best)) {
    r.sensitivity.push_back(std::move(s));
  }
  for (const Candidate& c : r.result.by_width) {
    r.width_parts.push_back(model.parts(c.decode, c.batch_per_gpu));
  }
  return r;
}

Status plan_search(const SearchOptions& o) {
  WS_ASSIGN(const SearchReport r, run_search(o));
  if (!r.decision.recommended) {
    if (o.json) WS_RETURN_IF_ERROR(print_json(search_json(r)));
    return failed(nothing_holds(r), "", "weaken that limit or add GPUs");
  }
  // Everything is made before anything is written.
  const std::string page = o.html.empty() ? "" : search_html(r);
  const std::string picture = o.svg.empty() ? "" : search_svg(r);
  if (!o.html.empty()) WS_RETURN_IF_ERROR(real_files().write_text(o.html, page));
  if (!o.svg.empty()) WS_RETURN_IF_ERROR(real_files().write_text(o.svg, picture));
  return o.json ? print_json(search_json(r)) : print_out(search_text(r));
}

}  // namespace

void add_plan_search(CLI::App& plan, Command& selected) {
  auto* c = plan.add_subcommand(
      "search", "Find the deployment: EP width, slots, batch, MTP, prefill and decode instances");
  auto o = std::make_shared<SearchOptions>();
  c->add_option("--model", o->model, "a known model, or a config.json")->required();
  c->add_option("--hardware", o->hardware, "a known GPU, or a JSON file")->required();
  c->add_option("--gpus", o->gpus, "GPUs at most");
  c->add_option("--isl", o->isl, "mean prompt tokens")->required();
  c->add_option("--osl", o->osl, "mean output tokens")->required();
  c->add_option("--ttft-ms", o->ttft_ms, "limit of the time to the first token")->required();
  c->add_option("--itl-ms", o->itl_ms, "limit of a request's mean time per output token")
      ->required();
  c->add_option("--percentile", o->percentile, "share of requests that must hold both, in %")
      ->capture_default_str();
  c->add_option("--rate-rps", o->rate_rps,
                "find the fewest GPUs that carry so many requests a second, not the most output");
  c->add_option("--budget-usd-hour", o->budget_usd_hour, "dollars an hour at most");
  c->add_option("--usd-per-kwh", o->usd_per_kwh, "price of electricity")->capture_default_str();
  c->add_option("--dtype", o->dtype,
                "of the experts; auto: the smallest that the GPU computes with")
      ->check(CLI::IsMember({"auto", "bf16", "fp8", "fp4"}))
      ->capture_default_str();
  c->add_option("--mtp-accepted", o->mtp_accepted,
                "tokens that a step gains with 1, 2, 3 drafts; default: as published for "
                "DeepSeek-V3 and R1, 1.8,2.4,2.9")
      ->delimiter(',')
      ->expected(1, 3);
  c->add_option("--eplb", o->eplb, "none, untuned, static, online, perfect")
      ->check(CLI::IsMember({"none", "untuned", "static", "online", "perfect"}))
      ->capture_default_str();
  c->add_option("--load", o->load, "recorded loads: imbalance from the balancer instead of --eplb");
  c->add_option("--constants", o->constants, "a CSV file instead of the built-in constants");
  add_calibrate_options(*c, o->calibrate);
  c->add_option("--cached-fraction", o->cached_fraction, "share of a prompt that is cached")
      ->capture_default_str();
  c->add_option("--arrivals", o->arrivals,
                "of the simulation: poisson, burst, or a trace of JSON lines with arrival_s, isl, "
                "osl")
      ->capture_default_str();
  c->add_option("--length-cv", o->length_cv, "coefficient of variation of lengths")
      ->capture_default_str();
  c->add_option("--seed", o->seed, "of the simulation")->capture_default_str();
  c->add_option("--html", o->html, "write a page with pictures");
  c->add_option("--svg", o->svg, "write the picture of the Pareto front");
  c->add_flag("--json", o->json, "one JSON document on stdout");
  c->footer(kPlanSearchExamples);
  c->callback([o, &selected] { selected = [o] { return plan_search(*o); }; });
}

}  // namespace wingspan
