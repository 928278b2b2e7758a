// Arrivals and lengths have the moments that were asked for; broken traces are one-line errors.
#include <gtest/gtest.h>

#include <cmath>

#include "sim/distribution.h"
#include "sim/workload.h"

namespace wingspan::test {
namespace {

TEST(Workload, MomentsAreThoseAskedFor) {
  for (const Arrivals kind : {Arrivals::kPoisson, Arrivals::kBurst}) {
    WorkloadOptions w;
    w.arrivals = kind;
    w.rate_rps = 50;
    w.requests = 40000;
    w.isl = 4096;
    w.osl = 512;
    w.length_cv = 0.5;
    const auto requests = make_workload(w);
    double prompts = 0, squares = 0;
    for (const SimRequest& r : requests) {
      const auto n = static_cast<double>(r.prompt_tokens);
      prompts += n;
      squares += n * n;
    }
    const double mean = prompts / w.requests;
    EXPECT_NEAR(mean, 4096, 60);
    EXPECT_NEAR(std::sqrt(squares / w.requests - mean * mean) / mean, 0.5, 0.03);
    EXPECT_NEAR(static_cast<double>(requests.back().arrival_ns) * 1e-9, 40000 / 50.0, 40);
    EXPECT_NEAR(arrival_variation(requests), arrival_variation(kind),
                0.1 * arrival_variation(kind));
  }
}

TEST(Workload, ATraceKeepsItsShapeAndTakesTheMeans) {
  const auto trace = parse_trace(
      "{\"arrival_s\": 1, \"isl\": 100, \"osl\": 10}\n\n"
      "{\"timestamp\": 2000, \"input_length\": 300, \"output_length\": 30, \"hash_ids\": [1]}\n",
      "t.jsonl");
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ((*trace)[1], (SimRequest{2000000000, 300, 30}));
  WorkloadOptions w;
  w.arrivals = Arrivals::kTrace;
  w.rate_rps = 10;
  w.requests = 5;
  w.isl = 400;
  w.osl = 40;
  const auto requests = make_workload(w, *trace);
  EXPECT_EQ(requests[0], (SimRequest{0, 200, 20}));
  EXPECT_EQ(requests[1], (SimRequest{100000000, 600, 60}));
  EXPECT_EQ(requests[4].arrival_ns, 400000000);
}

TEST(Workload, BrokenTracesAreErrors) {
  for (const char* text :
       {"", "\n\n", "{", "[]", "3", R"({"isl": 5, "osl": 5})",
        R"({"arrival_s": 1, "isl": 5, "osl": 5})", R"({"arrival_s": -1, "isl": 5, "osl": 5})",
        R"({"arrival_s": 1, "isl": 0, "osl": 5})", R"({"arrival_s": 1, "isl": 1e30, "osl": 5})",
        "{\"arrival_s\": 1, \"isl\": 5, \"osl\": 5}\n{\"arrival_s\": 0, \"isl\": 5, \"osl\": 5}",
        "{\"arrival_s\": 1, \"isl\": 5, \"osl\": 5}\n{\"arrival_s\": 1, \"isl\": 5, \"osl\": 5}"}) {
    const auto trace = parse_trace(text, "t.jsonl");
    ASSERT_FALSE(trace) << text;
    EXPECT_EQ(trace.error().exit_code(), 2);
    EXPECT_NE(trace.error().message().find("t.jsonl"), std::string::npos);
  }
}

TEST(Distribution, QuantilesAreLinearBetweenSamples) {
  const Distribution d({4, 1, 3, 2});
  EXPECT_EQ(d.mean(), 2.5);
  EXPECT_EQ(d.quantile(0), 1);
  EXPECT_EQ(d.quantile(1), 4);
  EXPECT_DOUBLE_EQ(d.quantile(0.5), 2.5);
  EXPECT_EQ(Distribution().quantile(0.5), 0);
}

}  // namespace
}  // namespace wingspan::test
