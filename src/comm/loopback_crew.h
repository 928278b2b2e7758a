// Crews of loopback ranks.
#pragma once

#include <memory>

#include "comm/crew.h"
#include "comm/loopback_world.h"

namespace wingspan {

// `state` is shared by the ranks of one crew.
std::unique_ptr<Crew> make_loopback_crew(std::shared_ptr<LoopbackWorld> world,
                                         std::shared_ptr<CrewState> state, int rank);

}  // namespace wingspan
