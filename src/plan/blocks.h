// Building blocks of the formulas: rooflines with a soft knee, GEMM rates, times with what binds
// them. Seconds, bytes, flops. Internal to plan.
#pragma once

#include <array>

#include "plan/predict.h"

namespace wingspan::plan_detail {

// A time and where it goes.
struct Piece {
  double s = 0;
  std::array<double, kBounds> by{};
  double& at(Bound bound) { return by[static_cast<size_t>(bound)]; }
  Piece& operator+=(const Piece& other);
  Piece times(double factor) const;
};
inline Piece operator+(Piece a, const Piece& b) { return a += b; }

Piece fixed(double seconds, Bound bound = Bound::kLatency);
// (t₁ᵖ + t₂ᵖ)^(1/p) of memory and flops time; all of it belongs to the larger.
Piece roofline(const PlanConstants& c, double memory_s, double flops_s, Bound memory_bound);

// Peak for a GEMM of that dtype: the next wider one where the GPU lacks it.
double peak_flops(const PlanGpu& gpu, PlanDType dtype);
// Share of `peak` that a large GEMM reaches: 1/e = 1/flops_share + flops_slope·(peak/HBM)/400.
double flops_efficiency(const PlanGpu& gpu, const PlanConstants& c, double peak);
double stream_bytes_per_s(const PlanGpu& gpu, const PlanConstants& c);      // weights
double activation_bytes_per_s(const PlanGpu& gpu, const PlanConstants& c);  // KV cache, rows
// Bytes/s of an exchange inside a domain: a share of what the links carry, no more than is usable.
double scaleup_reached(const PlanGpu& gpu, const PlanConstants& c);
double fixed_share(const PlanGpu& gpu, const PlanConstants& c);
// `rows` rows through `params` weights.
Piece gemm(const PlanGpu& gpu, const PlanConstants& c, double rows, double params, PlanDType dtype);

}  // namespace wingspan::plan_detail
