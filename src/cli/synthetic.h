// Models of random weights for benchmarks, made in memory.
#pragma once

#include <string>

#include "base/status.h"
#include "model/config.h"

namespace wingspan {

// "layers,hidden,experts,top-k,moe-intermediate" -> a model of DeepSeek-V3's kind: MLA with a head
// per 64 channels, sigmoid routing, no dense layer, no shared expert. Errors name the number.
Expected<ModelConfig> synthetic_config(const std::string& text, int64_t vocab);

}  // namespace wingspan
