// Values of many steps at once, two at a time and without branches: which of them is high no CPU
// guesses. Lengths are rounded up to even ones; callers keep room for that.
#pragma once

#include <cstddef>
#include <cstring>

namespace wingspan {

// Two numbers; the compiler has them in one register on every 64-bit CPU.
typedef double Two __attribute__((vector_size(16)));

inline Two two(double x) { return Two{x, x}; }
inline Two load_two(const double* at) {
  Two out;
  std::memcpy(&out, at, sizeof out);
  return out;
}

// The square of what each lies above zero.
inline Two excess_two(Two over) {
  const Two above = over > two(0) ? over : two(0);
  return above * above;
}

// out[i] = rate(i) for i, i + 1; the largest of them and 0.
template <class Rate>
double fill_rates(size_t count, double* out, const Rate& rate) {
  Two most = two(0);
  for (size_t i = 0; i < count; i += 2) {
    const Two r = rate(i);
    std::memcpy(out + i, &r, sizeof r);
    most = r > most ? r : most;
  }
  return most[0] > most[1] ? most[0] : most[1];
}

}  // namespace wingspan
