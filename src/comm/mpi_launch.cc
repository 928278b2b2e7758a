#include <charconv>

#include "base/env.h"
#include "comm/mpi.h"

namespace wingspan {
namespace {

std::optional<int> number(const char* name) {
  const auto text = environment_variable(name);
  if (!text) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || *end != '\0' || value < 0) return std::nullopt;
  return value;
}

}  // namespace

MpiLaunch mpi_launch() {
  // Open MPI, MPICH and Intel MPI, PMIx under Slurm.
  const char* sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
  const char* ranks[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK"};
  const char* locals[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"};
  const char* local_ranks[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"};
  for (int i = 0; i < 2; ++i) {
    const auto size = number(sizes[i]), rank = number(ranks[i]);
    if (!size || !rank || *size < 1 || *rank >= *size) continue;
    return {true, *rank, *size, number(locals[i]).value_or(1), number(local_ranks[i]).value_or(0)};
  }
  return {};
}

}  // namespace wingspan
