// Rows that a run is asked to show (logits, hidden states, routing), collected by each rank and
// brought to rank 0, where the sink gets them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"

namespace wingspan {

class CaptureLog {
 public:
  CaptureLog(const ModelConfig& config, const Capture& capture, int64_t max_rows);

  // Bytes that one step of one rank can fill at most.
  static size_t capacity(const ModelConfig& config, const Capture& capture, int64_t max_rows);

  void clear() { bytes_.clear(); }
  void logits(int request, int64_t position, std::span<const float> row);
  void hidden(int request, int64_t position, int layer, std::span<const float> row);
  void routing(int request, int64_t position, int layer, std::span<const int32_t> experts,
               std::span<const float> weights);
  void router_logits(int request, int64_t position, int layer, std::span<const float> row);
  std::span<const std::byte> bytes() const { return bytes_; }

  // Hands the records of one rank's step to the sink. Error: malformed.
  static Status replay(std::span<const std::byte> bytes, RunSink& sink);

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace wingspan
