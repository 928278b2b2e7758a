// Which core a rank's thread runs on: memory that a thread touches first then lies on its node.
#pragma once

#include <hwloc.h>
#include <sched.h>

namespace wingspan {

// The cores that this process may use. Threads are numbered over all ranks of this machine. As many
// as cores are pinned, each to its own. Otherwise they are spread over the NUMA nodes and the
// scheduler chooses the core: fewer threads may share the machine with another run, more share
// cores.
class Cores {
 public:
  Cores();
  ~Cores();
  Cores(const Cores&) = delete;
  Cores& operator=(const Cores&) = delete;

  // Places the calling thread. Does nothing where the system does not allow it: placing is for
  // speed alone.
  void place(int thread, int threads) const;

 private:
  hwloc_topology_t topology_ = nullptr;
  hwloc_cpuset_t allowed_ = nullptr;
};

// Places the calling thread for as long as it lives, then gives the thread its old cores back.
class PlacedThread {
 public:
  PlacedThread(const Cores& cores, int thread, int threads);
  ~PlacedThread();
  PlacedThread(const PlacedThread&) = delete;
  PlacedThread& operator=(const PlacedThread&) = delete;

 private:
  cpu_set_t before_;
  bool known_ = false;
};

}  // namespace wingspan
