// What says whether two ranks, or two runs, have the same model: every field of the config, and
// what a checkpoint's headers say of its files.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/weight_source.h"

namespace wingspan {

// Of every field but `name`, which is a directory's.
uint64_t config_digest(const ModelConfig& config);
// Of the config and the source's headers.
uint64_t model_digest(const ModelConfig& config, const WeightSource& source);

}  // namespace wingspan
