// The readers of config.json, one a family. Only config.cc calls them.
#pragma once

#include "base/json.h"
#include "model/config.h"

namespace wingspan {

// deepseek_v3, kimi_k2, deepseek_v2: MLA, a dense beginning, then MoE with shared experts. Fills
// all that common keys don't say (docs/models.md).
Status read_deepseek(const JsonObject& json, ModelConfig& config);

}  // namespace wingspan
