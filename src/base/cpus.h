// How many CPUs this process may run on.
#pragma once

namespace wingspan {

// Counts those of the calling thread's affinity (taskset, a container's cpuset, a launcher's
// binding), which may be fewer than the machine has; at least 1.
int available_cpus();

}  // namespace wingspan
