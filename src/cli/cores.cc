#include "cli/cores.h"

#include <cstdint>

namespace wingspan {

Cores::Cores() {
  allowed_ = hwloc_bitmap_alloc();
  if (hwloc_topology_init(&topology_) != 0 || hwloc_topology_load(topology_) != 0 ||
      hwloc_get_cpubind(topology_, allowed_, HWLOC_CPUBIND_PROCESS) != 0) {
    hwloc_bitmap_zero(allowed_);
  }
}

Cores::~Cores() {
  hwloc_bitmap_free(allowed_);
  if (topology_ != nullptr) hwloc_topology_destroy(topology_);
}

void Cores::place(int thread, int threads) const {
  const int cores = hwloc_get_nbobjs_inside_cpuset_by_type(topology_, allowed_, HWLOC_OBJ_CORE);
  if (hwloc_bitmap_iszero(allowed_) != 0 || cores < 1 || threads < 1) return;
  const int64_t index = static_cast<int64_t>(thread) * cores / threads;
  hwloc_obj_t place = hwloc_get_obj_inside_cpuset_by_type(topology_, allowed_, HWLOC_OBJ_CORE,
                                                          static_cast<unsigned>(index));
  if (place == nullptr) return;
  hwloc_cpuset_t set = hwloc_bitmap_dup(place->cpuset);
  if (threads != cores) {
    hwloc_obj_t node = hwloc_get_next_obj_covering_cpuset_by_type(topology_, place->cpuset,
                                                                  HWLOC_OBJ_NUMANODE, nullptr);
    hwloc_bitmap_copy(set, node != nullptr ? node->cpuset : allowed_);
  }
  hwloc_bitmap_and(set, set, allowed_);
  if (hwloc_bitmap_iszero(set) == 0) hwloc_set_cpubind(topology_, set, HWLOC_CPUBIND_THREAD);
  hwloc_bitmap_free(set);
}

PlacedThread::PlacedThread(const Cores& cores, int thread, int threads) {
  known_ = ::sched_getaffinity(0, sizeof before_, &before_) == 0;
  cores.place(thread, threads);
}

PlacedThread::~PlacedThread() {
  if (known_) ::sched_setaffinity(0, sizeof before_, &before_);
}

}  // namespace wingspan
