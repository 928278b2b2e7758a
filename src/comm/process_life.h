// Whether another process of this machine lives and works.
#pragma once

#include <cstdint>
#include <optional>

namespace wingspan {

struct ProcessLife {
  bool ended = false;    // gone, or dead and not yet waited for
  bool stopped = false;  // by a signal or a debugger
  int64_t cpu_ms = 0;    // used so far, all threads
};
// Nothing if /proc can't tell.
std::optional<ProcessLife> look_at_process(int pid);

}  // namespace wingspan
