// Where weights come from: a checkpoint on disk, or a generator of random ones (bench --synthetic).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "model/config.h"
#include "tensor/dtype.h"
#include "tensor/safetensors.h"

namespace wingspan {

// One tensor as stored, row-major, with its block scales where it is FP8.
struct RawTensor {
  DType dtype = DType::kF32;
  std::vector<std::byte> bytes;
  std::vector<float> scales;  // [ceil(n/128)][ceil(k/128)], only kF8E4M3
};

// Thread-safe.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // The dtype that `spec` is stored in; errors as for read().
  virtual Expected<DType> dtype(const TensorSpec& spec) const = 0;
  // Fills `out` (reusing its memory). Errors (kInvalidInput): missing, of another shape, of a dtype
  // that this tensor can't have, or FP8 without its scales.
  virtual Status read(const TensorSpec& spec, RawTensor& out) const = 0;
  // Of everything but the values: names, dtypes, shapes, offsets and sizes, file by file.
  virtual uint64_t header_digest() const = 0;
};

Expected<std::unique_ptr<WeightSource>> open_checkpoint_source(const Files& files,
                                                               const std::string& directory);

// Weights drawn from (seed, tensor name): normal with a deviation that keeps activations near 1.
std::unique_ptr<WeightSource> synthetic_source(DType dtype, uint64_t seed);

}  // namespace wingspan
