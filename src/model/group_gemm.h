// GroupGEMM over the received rows of a rank's slots: all rows of a slot in one product, gate·up
// fused with SwiGLU and the conversion for down, down fused with the hand-back of outputs. Rows are
// taken in waves so that scratch stays small however skewed the routing is.
//
// A wave is two loops over pieces: some columns of one slot's weight, one stretch of memory.
// Threads take pieces in order; pieces shrink towards the end so that all finish together. An
// output belongs to one piece, so nothing is summed across threads.
#pragma once

#include <cstdint>
#include <vector>

#include "ep/exchange.h"
#include "model/op_runner.h"

namespace wingspan {

class GroupGemm {
 public:
  // Scratch for `wave_rows` rows at a time.
  GroupGemm(const OpRunner& ops, int64_t hidden, int64_t width, DType expert_dtype,
            int64_t wave_rows, int max_slots);

  // slots[s] are the weights of local slot s; fills every pair's output.
  void run(const std::vector<MlpWeights>& slots, const ReceivedRows& received);

 private:
  // Rows [begin, end) of the wave belong to `slot`.
  struct Segment {
    size_t slot;
    int64_t begin, end;
  };
  // Panels [begin, end) of a segment's weight.
  struct Piece {
    const Segment* segment;
    int64_t begin, end;
  };
  void run_wave(const std::vector<MlpWeights>& slots, const ReceivedPair* pairs, int64_t rows);
  void gate_up(const std::vector<MlpWeights>& slots);
  void down(const std::vector<MlpWeights>& slots);
  // Divides every segment's `panels` panels of `panel_bytes` bytes at multiples of `grain`.
  void divide(int64_t panels, int64_t panel_bytes, int64_t grain);

  const OpRunner& ops_;
  int64_t hidden_, width_, wave_rows_;
  DType row_dtype_;
  std::vector<Segment> segments_;
  std::vector<Piece> pieces_;
  std::vector<const std::byte*> inputs_;  // of the wave's rows
  std::vector<float*> outputs_;
  Buffer act_, packed_act_;
};

}  // namespace wingspan
