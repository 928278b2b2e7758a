// Rows of all ranks of one process side by side, for weights that each of these ranks holds: who
// multiplies them together reads such a weight once, not once a rank. What head_exchange.h is for
// the head, for ranks that share memory, without sending anything.
//
// A round, on every rank, also on one without rows:
//   write this rank's rows to input() + first_row() · stride; meet()
//   the ranks take pieces of the work, each a range of columns of all rows, and write to output()
//   finish(); read this rank's rows of output()
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "comm/group.h"

namespace wingspan {

// Rows of a rank up to which its rows join the others': with more, a weight's read is shared by
// enough rows of its own. Never changes a bit.
constexpr int64_t kJointRowsOfRank = 32;

struct JointShape {
  int64_t max_rows = 0;   // of one rank
  int64_t row_bytes = 0;  // of the widest input row
  int64_t outputs = 0;    // float32 of the widest output row
};

class JointRows {
 public:
  // Collective. Null where the ranks do not share memory, or there is but one.
  static Expected<std::unique_ptr<JointRows>> create(Group& group, const JointShape& shape);

  // `rank_rows`, by rank, of the step that begins; the same on all ranks.
  void begin_step(int64_t step, std::span<const int64_t> rank_rows);
  // Whether this step's rows are taken together: all ranks have few. Else no rounds in it.
  bool joined() const { return joined_; }
  int64_t total_rows() const { return total_; }
  int64_t first_row() const { return first_; }

  // Of the current round: room for the rows of all, `row_bytes` and `outputs` float32 each.
  std::byte* input(int64_t row_bytes);
  float* output(int64_t outputs);

  // `layer` is for diagnoses.
  Status meet(int layer);
  // See Crew.
  int cpus() const { return crew_->cpus(); }
  int64_t take(int64_t pieces) { return crew_->take(pieces); }
  void done(int64_t pieces) { crew_->done(pieces); }
  Status finish(int64_t pieces) { return crew_->finish(pieces); }
  // After this rank has read its outputs. The others may still read theirs: the next round has
  // memory of its own.
  void next_round() { round_ ^= 1; }

 private:
  JointRows(Group& group, std::unique_ptr<Crew> crew, int64_t input_bytes, int64_t half_bytes);
  std::byte* half() { return crew_->memory().data() + round_ * half_bytes_; }

  Group& group_;
  std::unique_ptr<Crew> crew_;
  int64_t input_bytes_, half_bytes_;  // of the inputs; of a round's memory
  int64_t step_ = 0, total_ = 0, first_ = 0;
  int round_ = 0;
  bool joined_ = false;
};

}  // namespace wingspan
