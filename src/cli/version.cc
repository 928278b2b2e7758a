#include "cli/version.h"

#include <fmt/format.h>
#include <hwloc.h>

#include "cli/build_info.h"
#include "comm/mpi.h"
#include "kernels/kernels.h"
#include "model/compute.h"

namespace wingspan {
namespace {

// Objects of a type in this machine.
int count_objects(hwloc_obj_type_t type) {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) return 1;
  int count = 1;
  if (hwloc_topology_load(topology) == 0) count = hwloc_get_nbobjs_by_type(topology, type);
  hwloc_topology_destroy(topology);
  return count < 1 ? 1 : count;
}

const char* compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

int machine_cores() {
  static const int cores = count_objects(HWLOC_OBJ_PU);
  return cores;
}

int machine_numa_nodes() {
  static const int nodes = count_objects(HWLOC_OBJ_NUMANODE);
  return nodes;
}

std::string version_line() {
  return fmt::format("wingspan {} (commit {})", kBuildVersion, kBuildCommit);
}

std::string version_text() {
  std::string kernels;
  for (const Kernels* k : all_kernels()) {
    kernels += fmt::format("{}{} ({})", kernels.empty() ? "" : ", ", k->name, k->variant);
  }
  std::string text = version_line() + "\n";
  text += fmt::format("compiler:   {}\n", compiler());
  text += fmt::format("cpu:        {}; {} cores, {} NUMA nodes\n", cpu_features(), machine_cores(),
                      machine_numa_nodes());
  text += fmt::format("kernels:    {}; numeric contract {}\n", kernels, kNumericContractVersion);
  text +=
      fmt::format("transports: loopback{}", mpi_built_in() ? ", mpi (" + mpi_version() + ")" : "");
  return text;
}

}  // namespace wingspan
