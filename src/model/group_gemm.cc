#include "model/group_gemm.h"

#include <algorithm>

#include "base/check.h"

namespace wingspan {
namespace {

// A weight's time grows with its bytes and with bytes × rows; from about this many rows on,
// arithmetic is the larger part.
constexpr int64_t kRidgeRows = 6;
constexpr int64_t kSmallPiece = 256 << 10;  // bytes: below, starting a piece costs too much
constexpr int64_t kMostPieces = 64;         // of one segment

}  // namespace

GroupGemm::GroupGemm(const OpRunner& ops, int64_t hidden, int64_t width, DType expert_dtype,
                     int64_t wave_rows, int max_slots)
    : ops_(ops),
      hidden_(hidden),
      width_(width),
      wave_rows_(wave_rows),
      row_dtype_(activation_type(ops.compute(), expert_dtype)),
      inputs_(static_cast<size_t>(wave_rows)),
      outputs_(static_cast<size_t>(wave_rows)),
      act_(static_cast<size_t>(wave_rows * width) * sizeof(float)),
      packed_act_(static_cast<size_t>(OpRunner::packed_bytes(wave_rows, width))) {
  segments_.reserve(static_cast<size_t>(max_slots));
  pieces_.reserve(static_cast<size_t>(max_slots * kMostPieces));
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
  for (int64_t r = 0; r < rows; ++r) {
    inputs_[static_cast<size_t>(r)] = pairs[r].row;
    outputs_[static_cast<size_t>(r)] = pairs[r].output;
  }
  gate_up(slots);
  down(slots);
}

void GroupGemm::divide(int64_t panels, int64_t panel_bytes, int64_t grain) {
  pieces_.clear();
  const auto row_cost = [](const Segment& s) { return kRidgeRows + s.end - s.begin; };
  int64_t left = 0;
  for (const Segment& s : segments_) left += row_cost(s) * panels;
  const int64_t fewest = std::max((kSmallPiece + panel_bytes - 1) / panel_bytes,
                                  (panels + kMostPieces - 1) / kMostPieces);
  const int64_t threads = ops_.pool().threads();
  for (const Segment& s : segments_) {
    for (int64_t begin = 0; begin < panels;) {
      const int64_t share = threads == 1 ? panels : left / (4 * threads) / row_cost(s);
      const int64_t take = (std::max(share, fewest) + grain - 1) / grain * grain;
      int64_t end = std::min(panels, begin + take);
      if (panels - end < std::min(fewest, take / 2)) end = panels;
      pieces_.push_back({&s, begin, end});
      left -= (end - begin) * row_cost(s);
      begin = end;
    }
  }
}

void GroupGemm::gate_up(const std::vector<MlpWeights>& slots) {
  const PackedGateUp& any = slots[segments_[0].slot].gate_up;
  const DType down_dtype = activation_type(ops_.compute(), slots[segments_[0].slot].down.dtype);
  const int64_t stride = OpRunner::packed_stride(down_dtype, width_);
  divide(any.panels(), 2 * any.bytes() / std::max<int64_t>(1, 2 * any.panels()),
         kFp8Block / kPanel);
  ops_.pool().run(static_cast<int64_t>(pieces_.size()), [&](int64_t i) {
    const Piece& piece = pieces_[static_cast<size_t>(i)];
    const Segment& s = *piece.segment;
    const int64_t rows = s.end - s.begin;
    float* act = act_.as<float>() + s.begin * width_;
    ops_.kernels().gate_up({gathered_rows(row_dtype_, inputs_.data() + s.begin, rows, hidden_),
                            &slots[s.slot].gate_up, act, width_, piece.begin, piece.end});
    ops_.pack_columns(down_dtype, act, width_, rows, width_, piece.begin * kPanel,
                      std::min(piece.end * kPanel, width_), packed_act_.data() + s.begin * stride,
                      stride);
  });
}

void GroupGemm::down(const std::vector<MlpWeights>& slots) {
  const PackedWeight& any = slots[segments_[0].slot].down;
  const DType dtype = activation_type(ops_.compute(), any.dtype);
  const int64_t stride = OpRunner::packed_stride(dtype, width_);
  divide(any.panels(), any.panel_bytes(), kGroup);
  ops_.pool().run(static_cast<int64_t>(pieces_.size()), [&](int64_t i) {
    const Piece& piece = pieces_[static_cast<size_t>(i)];
    const Segment& s = *piece.segment;
    LinearArgs args;
    args.x =
        packed_rows(dtype, packed_act_.data() + s.begin * stride, stride, s.end - s.begin, width_);
    args.w = &slots[s.slot].down;
    args.panel_begin = piece.begin;
    args.panel_end = piece.end;
    args.y_rows = outputs_.data() + s.begin;
    ops_.kernels().linear(args);
  });
}

}  // namespace wingspan
