// What a tokenizer.json may ask for, far above any real one.
#pragma once

#include <cstdint>

namespace wingspan {

inline constexpr int64_t kMaxTokenId = int64_t{1} << 24;
inline constexpr int kMaxPipelineDepth = 8;  // sequences within sequences of steps

}  // namespace wingspan
