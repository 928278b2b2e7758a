// What this program is: printed by --version, and part of reports.
#pragma once

#include <string>

namespace wingspan {

// "wingspan 0.1.0 (commit 1a2b3c4)".
std::string version_line();
// Version, commit, compiler, CPU features, kernel kinds, transports, machine; several lines.
std::string version_text();
// CPUs and NUMA nodes of the machine (hwloc). base/cpus.h: those that this process may use.
int machine_cores();
int machine_numa_nodes();

}  // namespace wingspan
