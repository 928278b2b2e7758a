// Rotary position embedding on interleaved pairs (2i, 2i+1), DeepSeek's form, with YaRN
// frequencies.
#pragma once

#include <cstdint>
#include <vector>

namespace wingspan {

struct YarnParams {
  double factor = 1;
  double original_max_position = 0;
  double beta_fast = 32, beta_slow = 1;
  bool truncate = true;  // round the ramp's ends to whole dimensions
};

// dim / 2 inverse frequencies in float32, as transformers computes them (rope_utils):
// theta^(−2i/dim); with YaRN a ramp between them and them / factor.
std::vector<float> rope_frequencies(int dim, double theta, const YarnParams* yarn);

// cos and sin of position · frequency (the angle rounded to float32, as transformers does), each
// [positions][dim / 2].
struct RopeTable {
  int dim = 0;
  std::vector<float> cos, sin;
};
RopeTable make_rope_table(const std::vector<float>& frequencies, int64_t positions);

// In place on one vector of `dim`: (a, b) -> (a·c − b·s, b·c + a·s) as fma(a, c, −(b·s)) and
// fma(b, c, a·s).
void rope_apply(float* x, const float* cos, const float* sin, int dim);

}  // namespace wingspan
