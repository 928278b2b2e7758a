// Models, GPUs and constants of data/, and scenarios drawn at random.
#pragma once

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/rng.h"
#include "plan/predict.h"
#include "support/paths.h"

namespace wingspan::test {

inline std::vector<TableRow> table(const std::string& name) {
  const auto text = real_files().read_text(source_path("data/" + name), 1 << 24);
  if (!text) throw std::runtime_error(text.error().message());
  const auto rows = parse_csv(*text, name);
  if (!rows) throw std::runtime_error(rows.error().message());
  return *rows;
}

template <class T>
T need(Expected<T> value) {
  if (!value) throw std::runtime_error(value.error().message());
  return *std::move(value);
}

inline PlanModel model(const std::string& name) {
  return need(model_of_row(need(find_row(table("models.csv"), "model", name, "--model"))));
}

inline PlanGpu gpu(const std::string& name) {
  return need(gpu_of_row(need(find_row(table("hardware.csv"), "gpu", name, "--hardware"))));
}

inline const PlanConstants& constants() {
  static const PlanConstants c = need(parse_constants(table("plan_constants.csv")));
  return c;
}

inline PlanScenario scenario(Phase phase, double ep, double slots) {
  PlanScenario s;
  s.phase = phase;
  s.gpus = ep;
  s.ep = s.attention_dp = ep;
  s.slots = slots;
  s.isl = 4096;
  s.osl = 1024;
  s.kv = PlanDType::kFp8;
  if (phase == Phase::kDisaggregated) {
    s.prefill_gpus = s.decode_gpus = s.prefill_ep = ep;
    s.gpus = 2 * ep;
  }
  return s;
}

template <class T, size_t n>
T pick(Rng& rng, const T (&values)[n]) {
  return values[rng.below(n)];
}

// Anything that validate_scenario accepts, whether or not it fits.
inline PlanScenario random_scenario(Rng& rng, const PlanModel& m) {
  constexpr double kWidths[] = {1, 2, 4, 8, 16, 32, 64, 72, 128};
  constexpr PlanDType kTypes[] = {PlanDType::kBf16, PlanDType::kFp8, PlanDType::kNvfp4};
  const double ep = m.experts > 0 ? pick(rng, kWidths) : 1;
  PlanScenario s = scenario(static_cast<Phase>(rng.below(4)), ep,
                            std::min(m.experts * ep, m.experts + ep * double(rng.below(3))));
  constexpr double kTp[] = {1, 2, 4};
  s.attention_tp = pick(rng, kTp);
  s.attention_dp = ep / s.attention_tp;
  if (s.attention_dp != static_cast<double>(static_cast<int>(s.attention_dp))) {
    s.attention_dp = ep;
    s.attention_tp = 1;
  }
  s.isl = 64 + double(rng.below(20000));
  s.osl = 16 + double(rng.below(4000));
  s.cached_fraction = rng.below(2) == 0 ? 0 : rng.uniform() * 0.9;
  s.tokens_per_gpu = 256 + double(rng.below(32000));
  s.batch_per_gpu = 0.25 + 100 * rng.uniform();
  s.experts = pick(rng, kTypes);
  s.attention = rng.below(2) == 0 ? PlanDType::kBf16 : PlanDType::kFp8;
  s.kv = rng.below(2) == 0 ? PlanDType::kBf16 : PlanDType::kFp8;
  s.dispatch = pick(rng, kTypes);
  if (rng.below(3) == 0) {
    s.mtp_k = 1 + double(rng.below(3));
    s.accepted_per_step = 1 + s.mtp_k * rng.uniform();
  }
  s.overlap = static_cast<PlanOverlap>(rng.below(3));
  s.balancing = static_cast<Balancing>(rng.below(5));
  if (s.phase == Phase::kDisaggregated && rng.below(2) == 0) {
    s.batch_per_gpu.reset();
    s.concurrency = 1 + 2000 * rng.uniform();
  }
  return s;
}

// A GPU with all the memory that could be asked for.
inline PlanGpu roomy(PlanGpu g) {
  g.hbm_bytes = 1e15;
  return g;
}

}  // namespace wingspan::test
