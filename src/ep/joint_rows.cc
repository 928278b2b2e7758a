#include "ep/joint_rows.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace wingspan {
namespace {

int64_t in_lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

Expected<std::unique_ptr<JointRows>> JointRows::create(Group& group, const JointShape& shape) {
  if (group.size() == 1) return std::unique_ptr<JointRows>();
  const int64_t rows = std::min(shape.max_rows, kJointRowsOfRank) * group.size();
  const int64_t input = rows * in_lines(shape.row_bytes);
  const int64_t half = input + rows * in_lines(shape.outputs * 4);
  WS_ASSIGN(auto crew, group.open_crew(static_cast<size_t>(2 * half), "joint rows"));
  if (crew == nullptr) return std::unique_ptr<JointRows>();
  return std::unique_ptr<JointRows>(new JointRows(group, std::move(crew), input, half));
}

JointRows::JointRows(Group& group, std::unique_ptr<Crew> crew, int64_t input_bytes,
                     int64_t half_bytes)
    : group_(group), crew_(std::move(crew)), input_bytes_(input_bytes), half_bytes_(half_bytes) {}

void JointRows::begin_step(int64_t step, std::span<const int64_t> rank_rows) {
  step_ = step;
  joined_ = false;
  if (rank_rows.empty()) return;
  WS_CHECK(static_cast<int>(rank_rows.size()) == group_.size(), "{} ranks", rank_rows.size());
  const auto own = rank_rows.begin() + group_.rank();
  first_ = std::accumulate(rank_rows.begin(), own, int64_t{0});
  total_ = std::accumulate(own, rank_rows.end(), first_);
  joined_ = total_ > 0 && *std::max_element(rank_rows.begin(), rank_rows.end()) <= kJointRowsOfRank;
}

std::byte* JointRows::input(int64_t row_bytes) {
  WS_CHECK(total_ * row_bytes <= input_bytes_, "{} rows of {} bytes", total_, row_bytes);
  return half();
}

float* JointRows::output(int64_t outputs) {
  WS_CHECK(total_ * outputs * 4 <= half_bytes_ - input_bytes_, "{} rows of {}", total_, outputs);
  return reinterpret_cast<float*>(half() + input_bytes_);
}

Status JointRows::meet(int layer) {
  group_.set_progress({step_, layer, "joint rows"});
  return crew_->meet();
}

}  // namespace wingspan
