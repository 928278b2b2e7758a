#include "kernels/numerics.h"

namespace wingspan {

// x = m · 2^e with m in [√½, √2): ln x = 2·artanh((m − 1)/(m + 1)) + e·ln 2, the series to the term
// 23, whose remainder is below 1e-17 for these m.
double log_contract(double x) {
  int exponent = 0;
  double m = std::frexp(x, &exponent);
  if (m < 0.70710678118654752440) {
    m *= 2;
    --exponent;
  }
  const double s = (m - 1) / (m + 1), square = s * s;
  double series = 0;
  for (int i = 23; i >= 1; i -= 2) series = series * square + 1.0 / i;
  return 2 * s * series + exponent * 0.69314718055994530942;
}

}  // namespace wingspan
