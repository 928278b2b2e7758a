// Ranks as MPI processes. Built with src/comm/mpi.cc, or without MPI src/comm/no_mpi.cc, whose
// functions say so.
#pragma once

#include <memory>
#include <string>

#include "comm/group.h"

namespace wingspan {

bool mpi_built_in();
// What the launcher (mpirun, srun with PMI) says in the environment; does not initialise MPI.
struct MpiLaunch {
  bool launched = false;
  int rank = 0, size = 1;
  int local_size = 1;  // processes on this machine
  int local_rank = 0;  // this one among them
};
MpiLaunch mpi_launch();
// The library's own version text, "" when not built in.
std::string mpi_version();

// Initialises MPI on the first call (MPI_THREAD_FUNNELED) and returns this process's handle on the
// world; collective, as often as wanted. Error: not built in.
//
// Lost peers: a process of the same machine is watched by its processor time, as loopback ranks
// are; one on another machine is lost when it is silent for the deadline within a step (ten minutes
// at the start, when ranks load at different speeds).
Expected<std::unique_ptr<Group>> make_mpi(const GroupOptions& options = {});
// Finalises MPI if it was initialised. After a failure it ends the process with `exit_code` at
// once, since finalising would wait for peers that may be gone.
void shut_down_mpi(bool failed, int exit_code);

}  // namespace wingspan
