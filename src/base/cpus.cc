#include "base/cpus.h"

#include <sched.h>

#include <algorithm>
#include <memory>
#include <thread>

namespace wingspan {

int available_cpus() {
  constexpr int kMost = 1 << 16;  // the fixed cpu_set_t ends at 1024
  const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(kMost),
                                                             [](cpu_set_t* s) { CPU_FREE(s); });
  const size_t bytes = CPU_ALLOC_SIZE(kMost);
  if (set && ::sched_getaffinity(0, bytes, set.get()) == 0) {
    return std::max(1, CPU_COUNT_S(bytes, set.get()));
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace wingspan
