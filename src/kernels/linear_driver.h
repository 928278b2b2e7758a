// The loops around a GEMM's register tiles, shared by the portable and the avx512 kernels. Included
// by their .cc files only: everything here has internal linkage, since each file is compiled for an
// instruction set of its own.
//
// Order of the loops: groups of 4 panels; in a group, blocks of 128 along K; in a block, tiles of
// rows. So the weights are one sequential stream, read once from memory and from the L1 cache by
// every tile but the first; sums rest in a small array between blocks, which changes no bit.
//
// A kernel set (the template parameter Tiles) gives:
//   Pair                    what a tile reads of one row for one pair of K
//   kMaxRows                the tallest tile
//   kScaled                 whether sums are per block and scaled (FP8 weights)
//   kDecodes                whether a block is decoded to memory once if it serves several tiles
//   fill(x, row, height, pairs, out)     packs `height` rows for tiles: [pairs][height] of Pair
//   tile(height, TileArgs)               adds a block to the sums
//   decode(DecodeArgs), decoded_tile(height, TileArgs)      with kDecodes
#pragma once

#include <algorithm>

#include "kernels/linear.h"
#include "kernels/simd16.h"
#include "tensor/buffer.h"

namespace wingspan {
namespace {

constexpr int64_t kBlockPairs = kFp8Block / 2;
constexpr int64_t kChunkRows = 192;        // rows packed at a time
constexpr int kRowSums = kGroup * kPanel;  // sums of one row for a group of panels
constexpr int64_t kDecodedBytes = kBlockPairs * kGroup * 2 * kPanel * 4;

struct TileArgs {
  const void* x = nullptr;       // [pairs][height] of Pair
  const std::byte* w = nullptr;  // the first panel's values
  int64_t w_stride = 0;          // bytes from pair to pair
  int panels = 0;                // 1 to kGroup
  int64_t pairs = 0;
  float* sums = nullptr;             // [height][kRowSums]
  bool first = false;                // sums start from zero
  const std::byte* ahead = nullptr;  // what to prefetch meanwhile: as many bytes as w has
};

struct DecodeArgs {
  const std::byte* w = nullptr;
  int64_t w_stride = 0;
  int panels = 0;
  int64_t pairs = 0;
  std::byte* out = nullptr;  // [pairs][panels][2 · kPanel]
  const std::byte* ahead = nullptr;
};

// Scratch of one thread; grows to the largest use.
struct LinearScratch {
  Buffer rows, sums, totals, decoded;
};
inline std::byte* at_least(Buffer& buffer, int64_t bytes) {
  if (static_cast<int64_t>(buffer.size()) < bytes) buffer = Buffer(static_cast<size_t>(bytes));
  return buffer.data();
}
inline LinearScratch& linear_scratch() {
  static thread_local LinearScratch scratch;
  return scratch;
}

// Tiles of nearly equal height: one row left over would read all weights again for itself.
struct RowTiles {
  int64_t rows, count;
  RowTiles(int64_t all, int64_t highest) : rows(all), count((all + highest - 1) / highest) {}
  int64_t begin(int64_t tile) const { return rows * tile / count; }
};

// What differs between the two ops. Panels are counted as they lie in the weight.
struct LinearJob {
  const LinearArgs& a;
  static constexpr int kPanelsPerOutput = 1;
  const PackedWeight& weight() const { return *a.w; }
  int64_t panels() const { return a.w->panels(); }
  const float* scales(int64_t panel) const {
    return a.w->scales.as<float>() + panel * kPanel / kFp8Block * fp8_blocks(a.w->k);
  }
  void store(int64_t row, int64_t output, const float* sums) const {
    float* y = a.row(row) + output * kPanel;
    const int64_t n = a.w->n - output * kPanel;
    n >= kPanel ? store16(y, load16(sums)) : store_partial16(y, n, load16(sums));
  }
};

struct GateUpJob {
  const GateUpArgs& a;
  static constexpr int kPanelsPerOutput = 2;
  const PackedGateUp& weight() const { return *a.w; }
  int64_t panels() const { return 2 * a.w->panels(); }
  const float* scales(int64_t panel) const {
    const int64_t blocks = fp8_blocks(a.w->k);
    return a.w->scales.as<float>() + panel % 2 * fp8_blocks(a.w->width) * blocks +
           panel / 2 * kPanel / kFp8Block * blocks;
  }
  void store(int64_t row, int64_t output, const float* sums) const {
    const F16 value = mul16(silu16(load16(sums)), load16(sums + kPanel));
    float* y = a.row(row) + output * kPanel;
    const int64_t n = a.w->width - output * kPanel;
    n >= kPanel ? store16(y, value) : store_partial16(y, n, value);
  }
};

// Some panels of one group.
struct PanelRun {
  int64_t panel;
  int count;
};

// totals = fma(block sums · sx, sw, totals) for a tile (linear.h).
template <class Job>
void scale_block(const Job& job, const Rows& x, int64_t row, int64_t rows, int64_t block,
                 const PanelRun& run, const float* sums, float* totals) {
  F16 sw[kGroup];
  for (int p = 0; p < run.count; ++p) sw[p] = set16(job.scales(run.panel + p)[block]);
  for (int64_t m = 0; m < rows; ++m) {
    const F16 sx = set16(x.scale(row + m, block));
    for (int p = 0; p < run.count; ++p) {
      const int64_t at = m * kRowSums + p * kPanel;
      const F16 before = block == 0 ? zero16() : load16(totals + at);
      store16(totals + at, fma16(mul16(load16(sums + at), sx), sw[p], before));
    }
  }
}

template <class Tiles, class Job>
void panels_of_group(const Job& job, const Rows& x, int64_t first_row, const RowTiles& tiles,
                     const PanelRun& run, LinearScratch& scratch) {
  using Pair = typename Tiles::Pair;
  const auto& w = job.weight();
  const int64_t element = dtype_size(w.dtype), pairs = (w.k + 1) / 2;
  const PanelPlace place = panel_place(job.panels(), w.k, run.panel);
  const int64_t stride = place.stride * element;
  const bool decoded = Tiles::kDecodes && tiles.count > 1;
  auto* sums = scratch.sums.as<float>();
  float* out = Tiles::kScaled ? scratch.totals.as<float>() : sums;
  for (int64_t b = 0; b * kBlockPairs < pairs; ++b) {
    const int64_t begin = b * kBlockPairs;
    TileArgs t;
    t.pairs = std::min(pairs - begin, kBlockPairs);
    t.panels = run.count;
    t.first = Tiles::kScaled || b == 0;
    t.w = w.data.data() + place.first * element + begin * stride;
    t.w_stride = stride;
    t.ahead = t.w + t.pairs * stride;
    if constexpr (Tiles::kDecodes) {
      if (decoded) {
        Tiles::decode({t.w, stride, t.panels, t.pairs, scratch.decoded.data(), t.ahead});
        t.w = scratch.decoded.data();
      }
    }
    for (int64_t i = 0; i < tiles.count; ++i) {
      const int64_t row = tiles.begin(i), height = tiles.begin(i + 1) - row;
      t.x = scratch.rows.as<Pair>() + row * pairs + begin * height;
      t.sums = sums + row * kRowSums;
      if constexpr (Tiles::kDecodes) {
        decoded ? Tiles::decoded_tile(height, t) : Tiles::tile(height, t);
      } else {
        Tiles::tile(height, t);
      }
      t.ahead = nullptr;  // the first tile has seen to it
      if constexpr (Tiles::kScaled) {
        scale_block(job, x, first_row + row, height, b, run, t.sums, out + row * kRowSums);
      }
    }
  }
  for (int64_t m = 0; m < tiles.rows; ++m) {
    for (int p = 0; p < run.count; p += Job::kPanelsPerOutput) {
      job.store(first_row + m, (run.panel + p) / Job::kPanelsPerOutput,
                out + m * kRowSums + p * kPanel);
    }
  }
}

// Outputs [begin, end) for all rows.
template <class Tiles, class Job>
void run_linear(const Job& job, const Rows& x, int64_t begin, int64_t end) {
  using Pair = typename Tiles::Pair;
  if (begin >= end || x.rows == 0) return;
  const int64_t pairs = (job.weight().k + 1) / 2;
  LinearScratch& scratch = linear_scratch();
  const int64_t chunks = (x.rows + kChunkRows - 1) / kChunkRows;
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t first = x.rows * c / chunks, rows = x.rows * (c + 1) / chunks - first;
    const RowTiles tiles(rows, Tiles::kMaxRows);
    at_least(scratch.rows, rows * pairs * static_cast<int64_t>(sizeof(Pair)));
    at_least(scratch.sums, rows * kRowSums * 4);
    if (Tiles::kScaled) at_least(scratch.totals, rows * kRowSums * 4);
    if (Tiles::kDecodes) at_least(scratch.decoded, kDecodedBytes);
    for (int64_t i = 0; i < tiles.count; ++i) {
      const int64_t row = tiles.begin(i), height = tiles.begin(i + 1) - row;
      Tiles::fill(x, first + row, height, pairs, scratch.rows.as<Pair>() + row * pairs);
    }
    const int64_t last = end * Job::kPanelsPerOutput;
    for (int64_t p = begin * Job::kPanelsPerOutput; p < last;) {
      const int64_t stop = std::min((p / kGroup + 1) * kGroup, last);
      panels_of_group<Tiles>(job, x, first, tiles, {p, static_cast<int>(stop - p)}, scratch);
      p = stop;
    }
  }
}

}  // namespace
}  // namespace wingspan
