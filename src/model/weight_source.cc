#include "model/weight_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstring>

#include "base/hash.h"
#include "base/rng.h"

namespace wingspan {
namespace {

class CheckpointSource final : public WeightSource {
 public:
  explicit CheckpointSource(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {}

  Expected<DType> dtype(const TensorSpec& spec) const override {
    WS_ASSIGN(auto info, checked(spec));
    return info.dtype;
  }

  Status read(const TensorSpec& spec, RawTensor& out) const override {
    WS_ASSIGN(auto info, checked(spec));
    out.dtype = info.dtype;
    out.bytes.resize(info.bytes);
    out.scales.clear();
    WS_RETURN_IF_ERROR(checkpoint_.read(spec.name, out.bytes));
    if (info.dtype != DType::kF8E4M3) return {};
    return read_scales(spec, out);
  }

  uint64_t header_digest() const override { return checkpoint_.header_digest(); }

 private:
  Expected<TensorInfo> checked(const TensorSpec& spec) const {
    auto info = checkpoint_.info(spec.name);
    if (!info) return Unexpected(info.error());
    if (info->shape != spec.shape) {
      return invalid_input(
          fmt::format("tensor {} has shape [{}], the config asks for [{}]", spec.name,
                      fmt::join(info->shape, ", "), fmt::join(spec.shape, ", ")),
          checkpoint_.directory(), "config.json and weights must fit each other");
    }
    const bool plain = info->dtype == DType::kF32 || info->dtype == DType::kBF16;
    if (!plain && !(spec.fp8_capable && info->dtype == DType::kF8E4M3)) {
      return invalid_input(
          fmt::format("tensor {} has dtype {}", spec.name, dtype_name(info->dtype)),
          checkpoint_.directory(),
          spec.fp8_capable ? "F32, BF16 and F8_E4M3 are supported here"
                           : "F32 and BF16 are supported here");
    }
    return info;
  }

  Status read_scales(const TensorSpec& spec, RawTensor& out) const {
    TensorSpec scale{spec.name + "_scale_inv", {}, false};
    for (int64_t d : spec.shape) scale.shape.push_back((d + 127) / 128);
    if (!checkpoint_.has(scale.name)) {
      return invalid_input(fmt::format("FP8 tensor {} has no {}", spec.name, scale.name),
                           checkpoint_.directory(), "block scales of 128 x 128 are needed");
    }
    WS_ASSIGN(auto info, checked(scale));
    if (info.dtype != DType::kF32) {
      return invalid_input(
          fmt::format("tensor {} has dtype {}", scale.name, dtype_name(info.dtype)),
          checkpoint_.directory(), "scales must be F32");
    }
    out.scales.resize(static_cast<size_t>(info.elements()));
    return checkpoint_.read(scale.name, std::as_writable_bytes(std::span(out.scales)));
  }

  Checkpoint checkpoint_;
};

uint64_t fnv1a(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ULL;
  return hash;
}

class SyntheticSource final : public WeightSource {
 public:
  SyntheticSource(DType dtype, uint64_t seed) : dtype_(dtype), seed_(seed) {}

  Expected<DType> dtype(const TensorSpec&) const override { return dtype_; }
  uint64_t header_digest() const override { return hash_mix(seed_, static_cast<uint64_t>(dtype_)); }

  Status read(const TensorSpec& spec, RawTensor& out) const override {
    int64_t elements = 1;
    for (int64_t d : spec.shape) elements *= d;
    const bool vector = spec.shape.size() == 1;
    // A row of n inputs with deviation 1/√n keeps an output near the size of an input.
    const double deviation =
        vector ? 0.02 : 1.0 / std::sqrt(static_cast<double>(spec.shape.back()));
    const bool is_norm = vector && spec.name.find("norm") != std::string::npos;
    out.dtype = dtype_;
    out.scales.clear();
    out.bytes.resize(static_cast<size_t>(elements * dtype_size(dtype_)));
    const uint64_t stream = fnv1a(spec.name);
    for (int64_t i = 0; i < elements; i += 4) {
      // The sum of four 8-bit uniforms is near enough to a normal, and four values cost one draw.
      const auto words = philox4x32(seed_, static_cast<uint64_t>(i), stream);
      for (int64_t j = 0; j < 4 && i + j < elements; ++j) {
        const uint32_t w = words[static_cast<size_t>(j)];
        const double sum = (w & 0xff) + (w >> 8 & 0xff) + (w >> 16 & 0xff) + (w >> 24);
        const double unit = (sum - 510.0) / 147.8;  // deviation of the sum of four
        store(out, i + j, static_cast<float>((is_norm ? 1.0 : 0.0) + unit * deviation));
      }
    }
    return {};
  }

 private:
  void store(RawTensor& out, int64_t i, float value) const {
    if (dtype_ == DType::kF32) {
      std::memcpy(out.bytes.data() + i * 4, &value, 4);
    } else {
      const uint16_t bits = f32_to_bf16(value);
      std::memcpy(out.bytes.data() + i * 2, &bits, 2);
    }
  }

  DType dtype_;
  uint64_t seed_;
};

}  // namespace

Expected<std::unique_ptr<WeightSource>> open_checkpoint_source(const Files& files,
                                                               const std::string& directory) {
  WS_ASSIGN(auto checkpoint, Checkpoint::open(files, directory));
  return std::make_unique<CheckpointSource>(std::move(checkpoint));
}

std::unique_ptr<WeightSource> synthetic_source(DType dtype, uint64_t seed) {
  return std::make_unique<SyntheticSource>(dtype == DType::kF32 ? DType::kF32 : DType::kBF16, seed);
}

}  // namespace wingspan
