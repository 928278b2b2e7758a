// The loops around a GEMM's register tiles, shared by the portable and the avx512 kernels. Included
// by their .cc files only: everything here has internal linkage, since each file is compiled for an
// instruction set of its own.
//
// Order of the loops: groups of 4 panels; in a group, blocks of 256 along K (128 with one tile,
// and for the scales of FP8); in a block, tiles of rows. So the weights are one sequential stream,
// read once from memory and from the caches by every tile but the first; sums rest in a small array
// between blocks, which changes no bit.
//
// A kernel set (the template parameter Tiles) gives:
//   Pair                    what a tile reads of one row for one pair of K
//   kScaled                 whether each block's sum is scaled before it is added (FP8 weights)
//   kDecodeFrom             from how many tiles on a block is decoded to memory once for all of
//   them
//                           (0: never), kDecodePanels at a time
//   kMaxShares              1 where a tile is computed panel by panel, which spreads the fetching
//                           enough; else 4
//   fill(x, row, height, pairs, out)     packs `height` rows for tiles: [pairs][height] of Pair
//   tile<kShares>(height, TileArgs)      adds a block to the sums; meanwhile fetches one of so many
//                                        shares of the next block (0: nothing)
//   decode(DecodeArgs), decoded_tile<kShares>(height, TileArgs)      with kDecodeFrom
#pragma once

#include <algorithm>

#include "kernels/linear.h"
#include "kernels/simd16.h"
#include "tensor/buffer.h"

namespace wingspan {
namespace {

inline constexpr int kTallest = 6;  // rows of a tile
inline constexpr int64_t kMaxBlockPairs = 128;
inline constexpr int64_t kChunkRows = 192;        // rows packed at a time
inline constexpr int64_t kUsualPairs = 4096;      // scratch is made for so many at least
inline constexpr int kRowSums = kGroup * kPanel;  // sums of one row for a group of panels
inline constexpr int64_t kDecodedBytes = kMaxBlockPairs * kGroup * 2 * kPanel * 4;

struct TileArgs {
  const void* x = nullptr;       // [pairs][height] of Pair
  const std::byte* w = nullptr;  // the first panel's values
  int64_t w_stride = 0;          // bytes from pair to pair
  int panels = 0;                // 1 to kGroup
  int64_t pairs = 0;
  float* sums = nullptr;  // [height][kRowSums]
  bool first = false;     // sums start from zero
  // With kScaled, what the block adds is multiplied by its row's and its panel's scale.
  float row_scales[kTallest] = {}, panel_scales[kGroup] = {};
  const std::byte* ahead = nullptr;  // the next block, to prefetch
  int64_t ahead_bytes = 0;
};

// Of `bytes` that a tile reads for a pair of K, its share of what to fetch for the next block.
constexpr int64_t ahead_bytes(int64_t bytes, int shares) {
  return shares == 0 ? 0 : (bytes / shares + 63) / 64 * 64;
}
inline constexpr int kOneLine = 64;  // so many shares that each is one line a pair
// A tile that is alone has the block in the first-level cache; of several, they have to share it.
template <int kShares>
inline void prefetch(const std::byte* line) {
  __builtin_prefetch(line, 0, kShares == 1 ? 3 : 2);
}

struct DecodeArgs {
  const std::byte* w = nullptr;
  int64_t w_stride = 0;
  int panels = 0;
  int64_t pairs = 0;
  std::byte* out = nullptr;  // [pairs][panels][2 · kPanel]
};

// Scratch of one thread; grows only with K.
struct LinearScratch {
  Buffer rows, sums, decoded;
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

// A block of K, and the panels that are computed.
struct Block {
  int64_t index, first_pair;
  PanelRun run;
};

// One tile of a block that is read as it lies in memory. The fetching of the next block is divided
// among the first tiles, so that memory and arithmetic work at the same time; its loads would cost
// the other tiles a twentieth of theirs.
template <class Tiles, int kShares>
void one_of_tiles(int64_t height, int64_t index, TileArgs t) {
  if (index >= kShares) return Tiles::template tile<0>(height, t);
  t.ahead += t.ahead_bytes / kShares * index;
  Tiles::template tile<kShares>(height, t);
}
template <class Tiles>
void tile_of_block(int64_t height, int64_t index, int64_t count, const TileArgs& t) {
  if constexpr (Tiles::kDecodeFrom == 2) {
    Tiles::template tile<1>(height, t);  // more are decoded
  } else if constexpr (Tiles::kMaxShares == 1) {
    one_of_tiles<Tiles, 1>(height, index, t);
  } else if (count == 1) {
    Tiles::template tile<1>(height, t);
  } else {
    count < 4 ? one_of_tiles<Tiles, 2>(height, index, t) : one_of_tiles<Tiles, 4>(height, index, t);
  }
}

// The same of a decoded block: the next one is fetched as it lies in memory, so in few lines.
template <class Tiles>
void tile_of_decoded_block(int64_t height, int64_t index, TileArgs t) {
  const int64_t fetched = index * t.pairs * 64;
  if (fetched >= t.ahead_bytes) return Tiles::template decoded_tile<0>(height, t);
  t.ahead += fetched;
  Tiles::template decoded_tile<kOneLine>(height, t);
}

// All tiles of a block; t.sums are those of row 0 and the first panel.
template <class Tiles, bool kDecoded, class Job>
void block_of_tiles(const Job& job, const Rows& x, int64_t first_row, const RowTiles& tiles,
                    const Block& block, TileArgs t, LinearScratch& scratch) {
  using Pair = typename Tiles::Pair;
  const int64_t pairs = (job.weight().k + 1) / 2;
  float* const sums = t.sums;
  if constexpr (Tiles::kScaled) {
    for (int p = 0; p < t.panels; ++p) {
      t.panel_scales[p] = job.scales(block.run.panel + p)[block.index];
    }
  }
  for (int64_t i = 0; i < tiles.count; ++i) {
    const int64_t row = tiles.begin(i), height = tiles.begin(i + 1) - row;
    if constexpr (Tiles::kScaled) {
      for (int64_t m = 0; m < height; ++m) {
        t.row_scales[m] = x.scale(first_row + row + m, block.index);
      }
    }
    t.x = scratch.rows.as<Pair>() + row * pairs + block.first_pair * height;
    t.sums = sums + row * kRowSums;
    if constexpr (kDecoded) {
      tile_of_decoded_block<Tiles>(height, i, t);
    } else {
      tile_of_block<Tiles>(height, i, tiles.count, t);
    }
  }
}

template <class Tiles, class Job>
void panels_of_group(const Job& job, const Rows& x, int64_t first_row, const RowTiles& tiles,
                     const PanelRun& run, LinearScratch& scratch) {
  const auto& w = job.weight();
  const int64_t element = dtype_size(w.dtype), pairs = (w.k + 1) / 2;
  const PanelPlace place = panel_place(job.panels(), w.k, run.panel);
  const int64_t stride = place.stride * element;
  // One tile fetches the next block into the first-level cache, which should hold both.
  const int64_t block_pairs = Tiles::kScaled || tiles.count == 1 ? kFp8Block / 2 : kMaxBlockPairs;
  const bool decoded = Tiles::kDecodeFrom > 0 && tiles.count >= Tiles::kDecodeFrom;
  auto* sums = scratch.sums.as<float>();
  for (int64_t b = 0; b * block_pairs < pairs; ++b) {
    const int64_t begin = b * block_pairs;
    TileArgs t;
    t.pairs = std::min(pairs - begin, block_pairs);
    t.panels = run.count;
    t.first = b == 0;
    t.w = w.data.data() + place.first * element + begin * stride;
    t.w_stride = stride;
    t.ahead_bytes = t.pairs * stride;
    t.ahead = t.w + t.ahead_bytes;
    t.sums = sums;
    if (!decoded) {
      block_of_tiles<Tiles, false>(job, x, first_row, tiles, {b, begin, run}, t, scratch);
      continue;
    }
    if constexpr (Tiles::kDecodeFrom > 0) {
      // As many panels at a time as the L1 cache holds decoded.
      for (int p = 0; p < run.count; p += Tiles::kDecodePanels) {
        const int count = std::min(run.count - p, Tiles::kDecodePanels);
        const int64_t panel_bytes = 2 * kPanel * element;
        Tiles::decode({t.w + p * panel_bytes, stride, count, t.pairs, scratch.decoded.data()});
        TileArgs part = t;
        part.w = scratch.decoded.data();
        part.panels = count;
        part.ahead += p * panel_bytes * t.pairs;
        part.ahead_bytes = count * panel_bytes * t.pairs;
        part.sums = t.sums + p * kPanel;
        block_of_tiles<Tiles, true>(job, x, first_row, tiles, {b, begin, {run.panel + p, count}},
                                    part, scratch);
      }
    }
  }
  for (int64_t m = 0; m < tiles.rows; ++m) {
    for (int p = 0; p < run.count; p += Job::kPanelsPerOutput) {
      job.store(first_row + m, (run.panel + p) / Job::kPanelsPerOutput,
                sums + m * kRowSums + p * kPanel);
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
  // For the most rows at once: a later call with more of them allocates nothing, and pages that are
  // not touched cost nothing.
  at_least(scratch.rows,
           kChunkRows * std::max(pairs, kUsualPairs) * static_cast<int64_t>(sizeof(Pair)));
  at_least(scratch.sums, kChunkRows * kRowSums * 4);
  if (Tiles::kDecodeFrom > 0) at_least(scratch.decoded, kDecodedBytes);
  const int64_t chunks = (x.rows + kChunkRows - 1) / kChunkRows;
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t first = x.rows * c / chunks, rows = x.rows * (c + 1) / chunks - first;
    const RowTiles tiles(rows, kTallest);
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
