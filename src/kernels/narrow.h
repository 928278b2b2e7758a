// Float32 rounded to BF16: nearest even, a NaN stays one (tensor/dtype.h, f32_to_bf16).
#pragma once

#include <cstdint>

namespace wingspan {

void narrow_bf16_ref(const float* x, int64_t n, uint16_t* y);
// In place, as the float32 values that the BF16 numbers stand for.
void round_bf16_ref(float* x, int64_t n);

}  // namespace wingspan
