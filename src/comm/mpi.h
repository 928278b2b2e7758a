// Ranks as MPI processes. Built with src/comm/mpi.cc, or without MPI src/comm/no_mpi.cc, whose
// functions say so.
#pragma once

#include <memory>
#include <string>

#include "comm/group.h"

namespace wingspan {

bool mpi_built_in();
// True when this process was started by mpirun (or srun): the world is larger than this process, or
// a launcher's variable is set. Does not initialise MPI.
bool launched_by_mpi();
// The library's own version text, "" when not built in.
std::string mpi_version();

// Initialises MPI on the first call (MPI_THREAD_FUNNELED) and returns this process's handle on the
// world. Error: not built in.
Expected<std::unique_ptr<Group>> make_mpi(const GroupOptions& options = {});
// Finalises MPI if it was initialised. After a lost peer: ends without waiting for it.
void shut_down_mpi(bool peer_lost);

}  // namespace wingspan
