#include "plan/accuracy.h"

#include <algorithm>
#include <cmath>

#include "plan/quantile.h"

namespace wingspan {

std::string accuracy_family(const PlanGpu& gpu, const PlanScenario& s) {
  if (s.phase == Phase::kPrefill) return "prefill";
  if (s.phase == Phase::kAggregated) return "aggregated";
  if (s.phase == Phase::kDisaggregated) return "disaggregated";
  std::string out = "decode " + gpu.name.substr(0, gpu.name.find_first_of(" -"));
  if (gpu.scaleup_domain > 8) out = "decode NVL72";
  out += dtype_bytes(s.experts) < 1 ? " FP4" : dtype_bytes(s.experts) > 1 ? " BF16" : " FP8";
  if (s.ep > 32) out += ", EP > 32";
  return out;
}

std::vector<std::string> families_of(const std::vector<Comparison>& all, const std::string& use) {
  std::vector<std::string> out;
  for (const Comparison& c : all) {
    if (c.use == use && std::find(out.begin(), out.end(), c.family) == out.end()) {
      out.push_back(c.family);
    }
  }
  return out;
}

AccuracySummary summarize(const std::vector<Comparison>& all, const std::string& use,
                          const std::string& family) {
  AccuracySummary out;
  std::vector<double> errors;
  std::vector<const Comparison*> rows;
  for (const Comparison& c : all) {
    if (c.use != use || (!family.empty() && c.family != family) || !c.refusal.empty()) continue;
    rows.push_back(&c);
    errors.push_back(std::abs(c.predicted / c.measured - 1));
    out.bias += c.log_error;
    out.covered += c.inside_interval ? 1 : 0;
  }
  out.rows = static_cast<int>(rows.size());
  if (rows.empty()) return out;
  out.bias /= out.rows;
  out.covered /= out.rows;
  out.median = sample_quantile(errors, 0.5);
  out.p90 = sample_quantile(errors, 0.9);
  out.worst = sample_quantile(errors, 1);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Comparison &a = *rows[i], &b = *rows[j];
      if (a.family != b.family || a.is_itl != b.is_itl) continue;
      const double measured = std::log(a.measured / b.measured);
      if (std::abs(measured) < 0.03) continue;
      ++out.pairs;
      if (measured * std::log(a.predicted / b.predicted) > 0) ++out.ordered;
    }
  }
  return out;
}

}  // namespace wingspan
