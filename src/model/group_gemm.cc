#include "model/group_gemm.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace wingspan {

GroupGemm::GroupGemm(const OpRunner& ops, int64_t hidden, int64_t width, DType expert_dtype,
                     int64_t wave_rows, int max_slots)
    : ops_(ops),
      hidden_(hidden),
      width_(width),
      wave_rows_(wave_rows),
      row_dtype_(activation_type(ops.compute(), expert_dtype)),
      row_stride_(OpRunner::packed_stride(row_dtype_, hidden)),
      rows_(static_cast<size_t>(wave_rows * row_stride_)),
      act_(static_cast<size_t>(wave_rows * width) * sizeof(float)),
      packed_act_(static_cast<size_t>(OpRunner::packed_bytes(wave_rows, width))),
      out_(static_cast<size_t>(wave_rows * hidden) * sizeof(float)) {
  segments_.reserve(static_cast<size_t>(max_slots));
}

void GroupGemm::run(const std::vector<MlpWeights>& slots, const ReceivedRows& received) {
  const auto total = static_cast<int64_t>(received.pairs.size());
  const int64_t local_slots = static_cast<int64_t>(received.begin.size()) - 1;
  WS_CHECK(static_cast<size_t>(local_slots) == slots.size(), "{} {}", local_slots, slots.size());
  int64_t slot = 0;
  for (int64_t begin = 0; begin < total; begin += wave_rows_) {
    const int64_t end = std::min(begin + wave_rows_, total);
    segments_.clear();
    for (int64_t at = begin; at < end;) {
      while (received.begin[static_cast<size_t>(slot) + 1] <= at) ++slot;
      const int64_t stop = std::min(end, received.begin[static_cast<size_t>(slot) + 1]);
      segments_.push_back({static_cast<size_t>(slot), at - begin, stop - begin});
      at = stop;
    }
    run_wave(slots, received.pairs.data() + begin, end - begin);
  }
}

void GroupGemm::run_wave(const std::vector<MlpWeights>& slots, const ReceivedPair* pairs,
                         int64_t rows) {
  const auto bytes = static_cast<size_t>(row_bytes(row_dtype_, hidden_));
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(rows_.data() + r * row_stride_, pairs[r].row, bytes);
  }
  // Few segments leave threads idle unless columns are split too.
  const int64_t threads = ops_.pool().threads();
  const bool many = static_cast<int64_t>(segments_.size()) >= 4 * threads;
  const int64_t parts = many ? 1 : threads;
  gate_up(slots, parts);
  const DType down_dtype = slots[segments_[0].slot].down.dtype;
  ops_.pack(down_dtype, act_.as<float>(), width_, rows, width_, packed_act_);
  down(slots, parts);
  const auto out_bytes = static_cast<size_t>(hidden_) * sizeof(float);
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(pairs[r].output, out_.as<float>() + r * hidden_, out_bytes);
  }
}

void GroupGemm::gate_up(const std::vector<MlpWeights>& slots, int64_t parts) {
  const auto segments = static_cast<int64_t>(segments_.size());
  ops_.pool().run(segments * parts, [&](int64_t i) {
    const Segment& s = segments_[static_cast<size_t>(i / parts)];
    const PackedGateUp& w = slots[s.slot].gate_up;
    const int64_t part = i % parts;
    ops_.kernels().gate_up({packed_rows(row_dtype_, rows_.data() + s.begin * row_stride_,
                                        row_stride_, s.end - s.begin, hidden_),
                            &w, act_.as<float>() + s.begin * width_, width_,
                            w.panels() * part / parts, w.panels() * (part + 1) / parts});
  });
}

void GroupGemm::down(const std::vector<MlpWeights>& slots, int64_t parts) {
  const auto segments = static_cast<int64_t>(segments_.size());
  ops_.pool().run(segments * parts, [&](int64_t i) {
    const Segment& s = segments_[static_cast<size_t>(i / parts)];
    const PackedWeight& w = slots[s.slot].down;
    const DType dtype = activation_type(ops_.compute(), w.dtype);
    const int64_t stride = OpRunner::packed_stride(dtype, width_);
    const int64_t part = i % parts;
    ops_.kernels().linear(
        {packed_rows(dtype, packed_act_.data() + s.begin * stride, stride, s.end - s.begin, width_),
         &w, out_.as<float>() + s.begin * hidden_, hidden_, w.panels() * part / parts,
         w.panels() * (part + 1) / parts});
  });
}

}  // namespace wingspan
