#include "plan/blocks.h"

#include <algorithm>
#include <cmath>

namespace wingspan::plan_detail {

Piece& Piece::operator+=(const Piece& other) {
  s += other.s;
  for (size_t i = 0; i < kBounds; ++i) by[i] += other.by[i];
  return *this;
}

Piece Piece::times(double factor) const {
  Piece out = *this;
  out.s *= factor;
  for (double& part : out.by) part *= factor;
  return out;
}

Piece fixed(double seconds, Bound bound) {
  Piece out;
  out.s = seconds;
  out.at(bound) = seconds;
  return out;
}

Piece roofline(const PlanConstants& c, double memory_s, double flops_s, Bound memory_bound) {
  const double large = std::max(memory_s, flops_s), small = std::min(memory_s, flops_s);
  if (large <= 0) return {};
  // Scaled by the larger, or a high power of microseconds leaves the range of doubles.
  const double sum = 1 + std::pow(small / large, c.knee_power);
  return fixed(large * std::pow(sum, 1 / c.knee_power),
               memory_s >= flops_s ? memory_bound : Bound::kFlops);
}

double peak_flops(const PlanGpu& gpu, PlanDType dtype) {
  const bool four_bits = dtype == PlanDType::kNvfp4 || dtype == PlanDType::kMxfp4;
  if (dtype == PlanDType::kBf16) return gpu.bf16;
  // Without FP4 units the weights are widened to BF16 before they multiply.
  if (four_bits) return gpu.fp4 > 0 ? gpu.fp4 : gpu.bf16;
  return gpu.fp8 > 0 ? gpu.fp8 : gpu.bf16;
}

double flops_efficiency(const PlanGpu& gpu, const PlanConstants& c, double peak) {
  return 1 / (1 / c.flops_share + c.flops_slope * (peak / gpu.hbm_bytes_per_s) / 400);
}

double stream_bytes_per_s(const PlanGpu& gpu, const PlanConstants& c) {
  return gpu.hbm_bytes_per_s * (gpu.blackwell ? c.stream_blackwell : c.stream_hopper);
}

double activation_bytes_per_s(const PlanGpu& gpu, const PlanConstants& c) {
  return gpu.hbm_bytes_per_s * c.stream_activations;
}

double scaleup_reached(const PlanGpu& gpu, const PlanConstants& c) {
  const double usable = gpu.scaleup_bytes_per_s;
  return std::min(usable, c.scaleup_share * std::max(usable, gpu.scaleup_nominal_bytes_per_s));
}

double fixed_share(const PlanGpu& gpu, const PlanConstants& c) {
  return gpu.blackwell ? c.fixed_share_blackwell : c.fixed_share_hopper;
}

Piece gemm(const PlanGpu& gpu, const PlanConstants& c, double rows, double params,
           PlanDType dtype) {
  const double peak = peak_flops(gpu, dtype);
  return roofline(c, params * dtype_bytes(dtype) / stream_bytes_per_s(gpu, c),
                  2 * rows * params / (flops_efficiency(gpu, c, peak) * peak), Bound::kWeights);
}

double poisson_max(double mean, double ranks) {
  if (mean <= 0) return 0;
  if (ranks <= 1) return mean;
  if (mean > 1000) return mean + std::sqrt(2 * std::log(ranks) * mean);
  // Σ over k of 1 − F(k)^ranks; the terms below mean − 10·√mean are 1 to many digits.
  double term = std::exp(-mean), below = 0, sum = 0;
  if (term <= 0) return mean + std::sqrt(2 * std::log(ranks) * mean);
  for (int k = 0; k < 4000; ++k) {
    below += term;
    const double tail = 1 - std::pow(std::min(below, 1.0), ranks);
    sum += tail;
    if (k > mean && tail < 1e-10) break;
    term *= mean / (k + 1);
  }
  return sum;
}

}  // namespace wingspan::plan_detail
