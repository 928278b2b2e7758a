#include "sim/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/json.h"
#include "base/rng.h"

namespace wingspan {
namespace {

constexpr double kBurstVariation = 4;  // coefficient of variation 2
constexpr size_t kMaxTraceRequests = 1000000, kMaxTraceBytes = size_t{1} << 28;
constexpr int64_t kMaxLength = 100000000;

double exponential(Rng& rng, double mean) { return -mean * std::log(1 - rng.uniform()); }

double gap_s(Arrivals kind, Rng& rng, double mean) {
  if (kind == Arrivals::kPoisson) return exponential(rng, mean);
  // Two exponential phases, each bringing half of the mean.
  const double p = (1 + std::sqrt((kBurstVariation - 1) / (kBurstVariation + 1))) / 2;
  const double share = rng.uniform() < p ? p : 1 - p;
  return exponential(rng, mean / (2 * share));
}

// Log-normal with that mean and coefficient of variation.
int64_t length(Rng& rng, double mean, double cv) {
  double value = mean;
  if (cv > 0) {
    const double variance = std::log1p(cv * cv);
    value = mean * std::exp(std::sqrt(variance) * rng.normal() - variance / 2);
  }
  return std::clamp<int64_t>(std::llround(value), 1, kMaxLength);
}

std::vector<SimRequest> from_trace(const WorkloadOptions& o, const std::vector<SimRequest>& trace) {
  WS_CHECK(trace.size() >= 2);
  double prompts = 0, outputs = 0;
  for (const SimRequest& r : trace) {
    prompts += static_cast<double>(r.prompt_tokens);
    outputs += static_cast<double>(r.output_tokens);
  }
  const auto n = static_cast<double>(trace.size());
  const double span_ns = static_cast<double>(trace.back().arrival_ns - trace.front().arrival_ns);
  // n requests in n mean gaps: a repeated trace goes on one mean gap after its last request.
  const double stretch = (n - 1) / o.rate_rps * 1e9 / span_ns;
  const double round_ns = n / o.rate_rps * 1e9;
  std::vector<SimRequest> out;
  out.reserve(static_cast<size_t>(o.requests));
  for (int i = 0; i < o.requests; ++i) {
    const auto at = static_cast<size_t>(i) % trace.size();
    const size_t round = static_cast<size_t>(i) / trace.size();
    const SimRequest& r = trace[at];
    const auto since = static_cast<double>(r.arrival_ns - trace.front().arrival_ns);
    const auto scaled = [](int64_t tokens, double factor) {
      const double value = static_cast<double>(tokens) * factor;
      return std::clamp<int64_t>(std::llround(value), 1, kMaxLength);
    };
    out.push_back({std::llround(static_cast<double>(round) * round_ns + since * stretch),
                   scaled(r.prompt_tokens, o.isl * n / prompts),
                   scaled(r.output_tokens, o.osl * n / outputs)});
  }
  return out;
}

Expected<SimRequest> parse_request(const JsonObject& o) {
  SimRequest r;
  if (o.has("arrival_s")) {
    WS_ASSIGN(const double at, o.number("arrival_s", 0, 1e9));
    r.arrival_ns = std::llround(at * 1e9);
  } else {
    WS_ASSIGN(const double at, o.number("timestamp", 0, 1e12));
    r.arrival_ns = std::llround(at * 1e6);
  }
  const auto tokens = [&o](const char* ours, const char* theirs) {
    return o.integer(o.has(theirs) ? theirs : ours, 1, kMaxLength);
  };
  WS_ASSIGN(r.prompt_tokens, tokens("isl", "input_length"));
  WS_ASSIGN(r.output_tokens, tokens("osl", "output_length"));
  return r;
}

}  // namespace

double arrival_variation(Arrivals kind) { return kind == Arrivals::kBurst ? kBurstVariation : 1; }

double arrival_variation(const std::vector<SimRequest>& trace) {
  double sum = 0, squares = 0;
  for (size_t i = 1; i < trace.size(); ++i) {
    const auto gap = static_cast<double>(trace[i].arrival_ns - trace[i - 1].arrival_ns);
    sum += gap;
    squares += gap * gap;
  }
  const auto n = static_cast<double>(trace.size()) - 1;
  return sum > 0 ? std::max(0.0, squares * n / (sum * sum) - 1) : 1;
}

std::vector<SimRequest> make_workload(const WorkloadOptions& o,
                                      const std::vector<SimRequest>& trace) {
  WS_CHECK(o.rate_rps > 0 && o.requests >= 0, "{} a second, {}", o.rate_rps, o.requests);
  if (o.arrivals == Arrivals::kTrace) return from_trace(o, trace);
  // Streams of their own: another length distribution leaves the arrivals as they are.
  Rng gaps(o.seed, 0), prompts(o.seed, 1), outputs(o.seed, 2);
  std::vector<SimRequest> out;
  out.reserve(static_cast<size_t>(o.requests));
  double at_s = 0;
  for (int i = 0; i < o.requests; ++i) {
    at_s += gap_s(o.arrivals, gaps, 1 / o.rate_rps);
    const int64_t prompt = length(prompts, o.isl, o.length_cv);
    out.push_back({std::llround(at_s * 1e9), prompt, length(outputs, o.osl, o.length_cv)});
  }
  return out;
}

Expected<std::vector<SimRequest>> parse_trace(std::string_view text, const std::string& where) {
  std::vector<SimRequest> out;
  for (int line = 1; !text.empty(); ++line) {
    const size_t end = text.find('\n');
    const std::string_view row = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}, line {}", where, line);
    if (out.size() == kMaxTraceRequests) {
      return invalid_input("more than a million requests", place, "give a part of the trace");
    }
    WS_ASSIGN(const Json json, parse_json(row, place, {.max_bytes = 1 << 20, .max_depth = 8}));
    WS_ASSIGN(const JsonObject object, JsonObject::from(json, place));
    WS_ASSIGN(const SimRequest request, parse_request(object));
    if (!out.empty() && request.arrival_ns < out.back().arrival_ns) {
      return invalid_input("a request arrives before the one above it", place,
                           "sort the trace by time");
    }
    out.push_back(request);
  }
  if (out.size() < 2 || out.back().arrival_ns == out.front().arrival_ns) {
    return invalid_input("a trace needs requests at two different times", where,
                         R"(give lines such as {"arrival_s": 0.5, "isl": 812, "osl": 96})");
  }
  return out;
}

Expected<std::vector<SimRequest>> read_trace(const Files& files, const std::string& path) {
  WS_ASSIGN(const std::string text, files.read_text(path, kMaxTraceBytes));
  return parse_trace(text, path);
}

}  // namespace wingspan
