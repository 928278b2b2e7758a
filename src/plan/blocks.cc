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
  const Bound bound = memory_s >= flops_s ? memory_bound : Bound::kFlops;
  // Scaled by the larger, or a high power of microseconds leaves the range of doubles.
  const double ratio = small / large;
  if (c.knee_power == 4) {  // a search takes millions of these, and roots are faster than pow
    const double square = ratio * ratio;
    return fixed(large * std::sqrt(std::sqrt(1 + square * square)), bound);
  }
  return fixed(large * std::pow(1 + std::pow(ratio, c.knee_power), 1 / c.knee_power), bound);
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

}  // namespace wingspan::plan_detail
