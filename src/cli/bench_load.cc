#include "cli/bench_load.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "base/clock.h"
#include "base/files.h"
#include "base/pool.h"
#include "model/weights.h"
#include "placement/placement.h"
#include "tensor/buffer.h"

namespace wingspan {
namespace {

constexpr uint64_t kPiece = uint64_t{4} << 20;

struct Piece {
  const RandomAccessFile* file;
  uint64_t from, size, to;
};

Expected<std::vector<std::shared_ptr<RandomAccessFile>>> weight_files(const std::string& model) {
  std::vector<std::shared_ptr<RandomAccessFile>> out;
  WS_ASSIGN(const auto names, real_files().list(model));
  for (const std::string& name : names) {
    if (!name.ends_with(".safetensors")) continue;
    WS_ASSIGN(auto file, real_files().open(model + "/" + name));
    out.push_back(std::move(file));
  }
  return out;
}

Status read_and_copy(Pool& pool, const std::vector<Piece>& pieces, uint64_t bytes) {
  Buffer all(bytes);
  Status first;
  std::mutex mutex;
  pool.run(static_cast<int64_t>(pieces.size()), [&](int64_t i) {
    static thread_local std::vector<std::byte> scratch(kPiece);
    const Piece& p = pieces[static_cast<size_t>(i)];
    const Status status = p.file->read_at(p.from, {scratch.data(), p.size});
    if (!status) {
      const std::lock_guard lock(mutex);
      first = status;
      return;
    }
    std::memcpy(all.data() + p.to, scratch.data(), p.size);
  });
  return first;
}

Status load(const SessionSetup& s, Pool& pool) {
  WS_ASSIGN(const auto weights, load_model_weights(s.config, *s.source, s.compute, pool, nullptr));
  const auto layers = s.config.moe_layers();
  if (layers.empty()) return {};
  const Placement one = contiguous_placement(s.config.moe.router.experts, layers, 1);
  WS_ASSIGN(const auto experts,
            load_rank_experts(s.config, *s.source, s.compute, one, 0, pool, nullptr));
  return {};
}

}  // namespace

Expected<LoadSpeed> measure_loading(const SessionSetup& setup, int rounds) {
  LoadSpeed speed;
  WS_ASSIGN(const auto files, weight_files(setup.options.model));
  std::vector<Piece> pieces;
  uint64_t bytes = 0;
  for (const auto& file : files) {
    for (uint64_t at = 0; at < file->size(); at += kPiece) {
      const uint64_t size = std::min(kPiece, file->size() - at);
      pieces.push_back({file.get(), at, size, bytes});
      bytes += size;
    }
  }
  speed.bytes = static_cast<int64_t>(bytes);
  Pool pool(setup.options.threads);
  WS_RETURN_IF_ERROR(read_and_copy(pool, pieces, bytes));
  const Clock& clock = system_clock();
  const auto rate = [&](int64_t begin) {
    return static_cast<double>(bytes) * 1e-9 / seconds(begin, clock.now_ns());
  };
  for (int round = 0; round < rounds; ++round) {
    int64_t begin = clock.now_ns();
    WS_RETURN_IF_ERROR(read_and_copy(pool, pieces, bytes));
    speed.read_copy.push_back(rate(begin));
    begin = clock.now_ns();
    WS_RETURN_IF_ERROR(load(setup, pool));
    speed.gb_per_s.push_back(rate(begin));
  }
  return speed;
}

}  // namespace wingspan
