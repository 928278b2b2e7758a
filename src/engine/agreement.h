// The ranks' agreement at start: all hold the same model, placement, numeric profile and limits,
// and replicas of an expert hold identical bytes (rule 5).
#pragma once

#include <string>
#include <vector>

#include "comm/group.h"
#include "engine/engine.h"

namespace wingspan {

// Collective. The error names the rank and what differs.
Status agree_at_start(Group& group, const ModelHost& host, const Placement& placement,
                      const RankExperts& experts, const EngineOptions& options);

}  // namespace wingspan
