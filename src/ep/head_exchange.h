// The head over the group: each rank computes its columns of the vocabulary for the rows of all
// ranks, so the group reads the head's weights once, not once a rank.
//
// A logit is one chain over its column of weights (kernels/linear.h), so who computes it never
// shows in its bits.
//
// Order of calls, on every rank, also on one without rows:
//   gather -> (the caller computes its columns of all rows) -> scatter
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/group.h"

namespace wingspan {

struct HeadShape {
  int64_t max_rows = 0;   // of one rank in one round
  int64_t row_bytes = 0;  // of a row in packed form (kernels/rows.h)
  int64_t vocab = 0;
};

class HeadExchange {
 public:
  // Collective.
  static Expected<std::unique_ptr<HeadExchange>> create(Group& group, const HeadShape& shape);

  // This rank's columns: whole groups of panels, so perhaps none.
  int64_t first_column() const { return column_of(group_.rank()); }
  int64_t columns() const { return column_of(group_.rank() + 1) - first_column(); }
  int64_t max_total_rows() const { return shape_.max_rows * group_.size(); }

  // Sends `count` rows, `stride` bytes apart, to all ranks. Returns where all ranks' rows lie,
  // ranks ascending; valid until scatter().
  Expected<std::span<const std::byte* const>> gather(int64_t step, const std::byte* rows,
                                                     int64_t stride, int64_t count);
  // part [all rows][columns()] -> out [count][vocab], of this rank's own rows.
  Status scatter(const float* part, float* out);

 private:
  HeadExchange(Group& group, const HeadShape& shape, std::unique_ptr<Channel> rows,
               std::unique_ptr<Channel> logits);
  int64_t column_of(int rank) const;

  Group& group_;
  HeadShape shape_;
  std::unique_ptr<Channel> rows_, logits_;
  std::vector<int64_t> counts_;  // by rank, of this round
  std::vector<const std::byte*> places_;
};

}  // namespace wingspan
