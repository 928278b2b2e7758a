// What an engine's own records say of the formulas: measured step = factor · predicted step.
#pragma once

namespace wingspan {

struct EngineFactor {
  int records = 0;  // 0: nothing learned, factor 1
  double factor = 1;
  double low = 1, high = 1;  // of measured ÷ predicted: 80 % of the records lie between
};

}  // namespace wingspan
