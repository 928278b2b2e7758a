// What a search needs of the model, the hardware and the load, from the names that the user gave.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/plan_calibrate.h"
#include "plan/candidate_json.h"
#include "plan/predict_serving.h"

namespace wingspan {

struct SearchOptions {
  std::string model, hardware, load, html, svg, constants;
  std::string arrivals = "poisson", dtype = "auto", eplb = "static";
  std::optional<int64_t> gpus;
  double isl = 0, osl = 0, ttft_ms = 0, itl_ms = 0, percentile = 95;
  double cached_fraction = 0, length_cv = 0.2, usd_per_kwh = 0.1;
  std::optional<double> budget_usd_hour, rate_rps;
  std::vector<double> mtp_accepted;  // by drafts from 1 on; empty: as published
  CalibrateOptions calibrate;
  uint64_t seed = 1;
  bool json = false;
};

struct SearchInputs {
  std::shared_ptr<const PredictServing> formulas;
  std::string price_column;
  double usd_gpu_hour = 0;  // 0: not known
  CandidateContext context;
  std::vector<std::string> assumptions;
};

// `gpus`: at most, where known. Errors (kInvalidInput) name the flag.
Expected<SearchInputs> search_inputs(const SearchOptions& options, int gpus);

}  // namespace wingspan
