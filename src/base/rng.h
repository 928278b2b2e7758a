// Counter-based random numbers: a value depends on (seed, counter) alone, never on what was drawn
// before, so a sampled token depends neither on the batch nor on the order of requests.
//
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC11), Philox 4x32-10.
#pragma once

#include <array>
#include <cstdint>

namespace wingspan {

// Four 32-bit words for the 64-bit key `seed` and the 128-bit counter (high, low).
std::array<uint32_t, 4> philox4x32(uint64_t seed, uint64_t counter_low, uint64_t counter_high = 0);

// A double in [0, 1) with 53 random bits.
double philox_uniform(uint64_t seed, uint64_t counter_low, uint64_t counter_high = 0);

// A small sequential generator over philox, for tests, synthetic weights and shuffles.
class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}
  uint64_t next();
  double uniform();                // [0, 1)
  double normal();                 // mean 0, variance 1 (Box-Muller)
  uint64_t below(uint64_t bound);  // [0, bound), without modulo bias; bound ≥ 1

 private:
  uint64_t seed_, stream_, counter_ = 0;
};

}  // namespace wingspan
