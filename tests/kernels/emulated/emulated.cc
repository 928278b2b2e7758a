#include "emulated/emulated.h"

#include "kernels/avx512.h"  // avx512 is avx512_emulated here (tests/CMakeLists.txt)

namespace wingspan {

const Kernels* emulated_avx512() {
  const Kernels* host = *choose_kernels("portable");
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return nullptr;
  static const Kernels table = [host] {
    Kernels t = *host;
    t.name = "avx512";
    t.variant = "emulated";
    t.linear = avx512::linear;
    t.gate_up = avx512::gate_up;
    t.mla_attention = avx512::mla_attention;
    return t;
  }();
  return &table;
}

}  // namespace wingspan
