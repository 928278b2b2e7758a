// What arrives at a simulated deployment: requests with a time, a prompt and an output length, from
// a seed or from a recorded trace.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/status.h"

namespace wingspan {

struct SimRequest {
  int64_t arrival_ns = 0;
  int64_t prompt_tokens = 1;  // ≥ 1
  int64_t output_tokens = 1;  // ≥ 1
  bool operator==(const SimRequest&) const = default;
};

enum class Arrivals {
  kPoisson,  // exponential gaps
  kBurst,    // two-phase hyperexponential gaps with coefficient of variation 2, balanced means
  kTrace,    // the gaps and lengths of a recorded trace, repeated while needed
};

// Squared coefficient of variation of the gaps of kPoisson and kBurst.
double arrival_variation(Arrivals kind);
double arrival_variation(const std::vector<SimRequest>& trace);

struct WorkloadOptions {
  Arrivals arrivals = Arrivals::kPoisson;
  double rate_rps = 1;  // mean arrivals a second
  int requests = 1000;
  double isl = 1024, osl = 1024;  // means; lengths are at least 1
  // Coefficient of variation of log-normal lengths; 0: every request has the mean.
  double length_cv = 0;
  uint64_t seed = 1;
};

// In order of arrival, the first gap before the first request. kTrace: `trace` is not empty; its
// time is stretched to the rate, its lengths are scaled to the means.
std::vector<SimRequest> make_workload(const WorkloadOptions& options,
                                      const std::vector<SimRequest>& trace = {});

// JSON lines, one request a line: {"arrival_s": 0.5, "isl": 812, "osl": 96}; also "timestamp" (ms),
// "input_length" and "output_length", the keys of the public Mooncake traces. Other keys are passed
// over. Times must not go back; at least two requests at different times, at most 10^6.
Expected<std::vector<SimRequest>> parse_trace(std::string_view text, const std::string& where);
Expected<std::vector<SimRequest>> read_trace(const Files& files, const std::string& path);

}  // namespace wingspan
