// What `wingspan plan search` shows: the JSON document, the table, the page and its picture.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "plan/advice.h"
#include "plan/candidate_json.h"
#include "sim/confirm.h"

namespace wingspan {

struct SearchReport {
  std::string model, hardware, price_column, arrivals;
  double kw_per_gpu = 0, usd_per_kwh = 0;  // 0: not known
  SearchLimits limits;
  CandidateContext context;
  SearchResult result;  // `pareto` without what the simulation refused
  Decision decision;
  std::string reason, why_not_runner_up;
  std::vector<std::string> assumptions;
  std::vector<Sensitivity> sensitivity;  // the first is about Wide-EP
  // Of the best candidate of each width, for the page.
  std::vector<std::vector<StepPart>> width_parts;
};

OrderedJson search_json(const SearchReport& report);
std::string search_text(const SearchReport& report);
std::string search_html(const SearchReport& report);
// Only the Pareto front.
std::string search_svg(const SearchReport& report);

// "nothing holds …": the nearest candidate and the limit that it breaks, in one line.
std::string nothing_holds(const SearchReport& report);

}  // namespace wingspan
