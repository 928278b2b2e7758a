#include "engine/load_recorder.h"

#include <algorithm>

#include "engine/wire.h"

namespace wingspan {

LoadRecorder::LoadRecorder(const ModelConfig& config, int64_t epoch, int64_t window_steps)
    : epoch_(epoch), window_steps_(window_steps) {
  load_.model = config.name;
  load_.layers = config.moe_layers();
  load_.experts = config.moe.router.experts;
  counts_.resize(load_.layers.size() * static_cast<size_t>(load_.experts) + 1);
  sums_.resize(counts_.size());
  step_.resize(counts_.size());
}

void LoadRecorder::begin_step() { std::fill(step_.begin(), step_.end(), 0); }

void LoadRecorder::count(int moe_index, int64_t rows, int top_k, const int32_t* experts) {
  int64_t* layer = step_.data() + static_cast<int64_t>(moe_index) * load_.experts;
  for (int64_t i = 0; i < rows * top_k; ++i) ++layer[experts[i]];
}

Status LoadRecorder::end_step(Group& group, Channel* channel, int64_t step, int64_t rows) {
  if (window_.steps == 0) window_.first_step = step;
  ++window_.steps;
  step_.back() = rows;
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += step_[i];
  if (window_steps_ == 0 || window_.steps < window_steps_) return {};
  return close_window(group, channel);
}

Status LoadRecorder::finish(Group& group, Channel* channel) {
  return window_.steps == 0 ? Status{} : close_window(group, channel);
}

Status LoadRecorder::close_window(Group& group, Channel* channel) {
  if (channel == nullptr) return {};
  std::fill(sums_.begin(), sums_.end(), 0);
  const auto add = [&](int, std::span<const std::byte> bytes) -> Status {
    if (bytes.size() != sums_.size() * sizeof(int64_t)) return failed("malformed load", "load");
    const auto* theirs = reinterpret_cast<const int64_t*>(bytes.data());
    for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += theirs[i];
    return {};
  };
  WS_RETURN_IF_ERROR(gather_to_first(*channel, group, std::as_bytes(std::span(counts_)), add));
  window_.epoch = epoch_;
  window_.tokens = sums_.back();
  const auto experts = static_cast<int64_t>(load_.experts);
  for (size_t l = 0; l < load_.layers.size(); ++l) {
    const auto first = sums_.begin() + static_cast<int64_t>(l) * experts;
    window_.load.emplace_back(first, first + experts);
  }
  load_.windows.push_back(std::move(window_));
  window_ = {};
  std::fill(counts_.begin(), counts_.end(), 0);
  return {};
}

}  // namespace wingspan
