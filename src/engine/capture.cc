#include "engine/capture.h"

#include <algorithm>
#include <cstring>

#include "engine/wire.h"

namespace wingspan {
namespace {

enum Kind : int32_t { kLogits, kHidden, kRouting, kRouterLogits };

struct Record {
  int32_t kind = 0;
  int32_t request = 0;
  int64_t position = 0;
  int32_t layer = -1;
  int32_t count = 0;  // values; for routing: experts, then as many weights
};

}  // namespace

size_t CaptureLog::capacity(const ModelConfig& config, const Capture& capture, int64_t max_rows) {
  int64_t row = 0;
  if (capture.logits || capture.prompt_logits) {
    row += static_cast<int64_t>(sizeof(Record)) + config.vocab * 4;
  }
  if (capture.hidden) {
    row += config.layers * (static_cast<int64_t>(sizeof(Record)) + config.hidden * 4);
  }
  if (capture.routing) {
    row += static_cast<int64_t>(config.moe_layers().size()) *
           (static_cast<int64_t>(sizeof(Record)) + config.moe.router.top_k * 8);
  }
  if (capture.router_logits) {
    row += static_cast<int64_t>(config.moe_layers().size()) *
           (static_cast<int64_t>(sizeof(Record)) + config.moe.router.experts * 4);
  }
  return static_cast<size_t>(std::max<int64_t>(row * max_rows, 64));
}

CaptureLog::CaptureLog(const ModelConfig& config, const Capture& capture, int64_t max_rows) {
  if (capture.any()) bytes_.reserve(capacity(config, capture, max_rows));
}

void CaptureLog::logits(int request, int64_t position, std::span<const float> row) {
  const Record r{kLogits, request, position, -1, static_cast<int32_t>(row.size())};
  append_bytes(bytes_, &r, 1);
  append_bytes(bytes_, row.data(), row.size());
}

void CaptureLog::hidden(int request, int64_t position, int layer, std::span<const float> row) {
  const Record r{kHidden, request, position, layer, static_cast<int32_t>(row.size())};
  append_bytes(bytes_, &r, 1);
  append_bytes(bytes_, row.data(), row.size());
}

void CaptureLog::routing(int request, int64_t position, int layer, std::span<const int32_t> experts,
                         std::span<const float> weights) {
  const Record r{kRouting, request, position, layer, static_cast<int32_t>(experts.size())};
  append_bytes(bytes_, &r, 1);
  append_bytes(bytes_, experts.data(), experts.size());
  append_bytes(bytes_, weights.data(), weights.size());
}

void CaptureLog::router_logits(int request, int64_t position, int layer,
                               std::span<const float> row) {
  const Record r{kRouterLogits, request, position, layer, static_cast<int32_t>(row.size())};
  append_bytes(bytes_, &r, 1);
  append_bytes(bytes_, row.data(), row.size());
}

Status CaptureLog::replay(std::span<const std::byte> bytes, RunSink& sink) {
  while (!bytes.empty()) {
    Record r;
    if (bytes.size() < sizeof(r)) return failed("malformed captured rows", "capture");
    std::memcpy(&r, bytes.data(), sizeof(r));
    bytes = bytes.subspan(sizeof(r));
    const auto count = static_cast<size_t>(std::max(r.count, 0));
    const size_t size = count * (r.kind == kRouting ? 8 : 4);
    if (bytes.size() < size) return failed("malformed captured rows", "capture");
    // All records are multiples of 4 bytes in a 64-byte aligned region.
    const auto* floats = reinterpret_cast<const float*>(bytes.data());
    if (r.kind == kLogits) {
      sink.on_logits(r.request, r.position, {floats, count});
    } else if (r.kind == kHidden) {
      sink.on_hidden(r.request, r.position, r.layer, {floats, count});
    } else if (r.kind == kRouterLogits) {
      sink.on_router_logits(r.request, r.position, r.layer, {floats, count});
    } else {
      sink.on_routing(r.request, r.position, r.layer,
                      {reinterpret_cast<const int32_t*>(bytes.data()), count},
                      {floats + count, count});
    }
    bytes = bytes.subspan(size);
  }
  return {};
}

}  // namespace wingspan
