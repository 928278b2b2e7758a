#include "emulated/emulated.h"

namespace wingspan {

const Kernels* emulated_avx512() { return nullptr; }

}  // namespace wingspan
