#include "comm/mpi.h"

namespace wingspan {

bool mpi_built_in() { return false; }
std::string mpi_version() { return ""; }

Expected<std::unique_ptr<Group>> make_mpi(const GroupOptions&) {
  return invalid_input("this build has no MPI transport", "--transport mpi",
                       "install libopenmpi-dev and build again, or use --transport loopback");
}

void shut_down_mpi(bool, int) {}

}  // namespace wingspan
