// GroupGEMM over the received rows of a rank's slots: all rows of a slot in one product, gate·up
// fused with SwiGLU, then down. Rows are taken in waves so that scratch stays small however skewed
// the routing is.
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
  void run_wave(const std::vector<MlpWeights>& slots, const ReceivedPair* pairs, int64_t rows);
  void gate_up(const std::vector<MlpWeights>& slots, int64_t parts);
  void down(const std::vector<MlpWeights>& slots, int64_t parts);

  const OpRunner& ops_;
  int64_t hidden_, width_, wave_rows_;
  DType row_dtype_;
  int64_t row_stride_;
  std::vector<Segment> segments_;
  Buffer rows_, act_, packed_act_, out_;
};

}  // namespace wingspan
