// The loops around a GEMM's register tiles, shared by the portable and the avx512 kernels. Included
// by their .cc files only: everything here has internal linkage, since each file is compiled for an
// instruction set of its own.
//
// Order of the loops: groups of 4 panels; in a group, blocks of up to 256 along K (128 with
// few tiles, and for the scales of FP8); in a block, tiles of rows. So the weights are one
// sequential stream, read once from memory and from the caches by every tile but the first; sums
// rest in a small array between blocks, which changes no bit.
//
// A kernel set (the template parameter Tiles) gives:
//   Pair                    what a tile reads of one row for one pair of K
//   tallest(rows)           rows of a tile at most, where there are so many
//   kScaled                 whether each block's sum is scaled before it is added (FP8 weights)
//   kDecodeFrom             from how many tiles on a block is decoded to memory once for all
//                           (0: never), kDecodePanels at a time
//   fill(x, row, height, pairs, out)     packs `height` rows for tiles: [pairs][height] of Pair
//   tile<kShares>(height, TileArgs)      adds a block to the sums; meanwhile fetches a share of the
//                                        next block (Ahead)
//   decode(DecodeArgs), decoded_tile<kShares>(height, TileArgs)      with kDecodeFrom
#pragma once

#include <algorithm>

#include "kernels/linear.h"
#include "kernels/simd16.h"
#include "tensor/buffer.h"

namespace wingspan {
namespace {

inline constexpr int kTallest = 6;  // rows of a tile of four panels
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
  // What to prefetch: from where on, how many bytes of a panel and a pair of K are shared by how
  // many tiles.
  const std::byte* ahead = nullptr;
  uint32_t ahead_bytes = 0, ahead_tiles = 1;
};

inline constexpr int kOneLine = 64;  // so many shares that each is one line a pair

// The fetching of the next block: evenly over the tiles of this one, so that memory and arithmetic
// work at the same time; kShares is how many tiles there are at least. A tile that is alone has the
// first-level cache for both blocks, several share the second.
template <int kPanels, int kBytes, int kShares>
class Ahead {
 public:
  Ahead(const TileArgs& t, int panel) : at_(t.ahead) {
    const uint32_t bytes = t.ahead_bytes * kPanels, parts = t.ahead_tiles * kLines;
    if constexpr (kShares > 1) step_ = (bytes + parts - 1) / parts;
    at_ += t.pairs * panel / kPanels * kLines * step_;
  }
  void fetch() {
    for (int line = 0; line < kLines; ++line) {
      __builtin_prefetch(at_, 0, kShares == 1 ? 3 : 2);
      at_ += step_;
    }
  }

 private:
  static constexpr int kLines = (kBytes / kShares + 63) / 64;
  const std::byte* at_;
  int64_t step_ = 64;
};

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

// `all` things in `count` parts of nearly equal size; one division, not one for each part.
struct Parts {
  int64_t all, count, size, larger;
  Parts(int64_t things, int64_t parts)
      : all(things),
        count(parts),
        size(parts == 1 ? things : things / parts),
        larger(things - size * parts) {}
  int64_t begin(int64_t part) const { return part * size + std::min(part, larger); }
};
// The lowest of several tiles, as Parts makes them: of 7 rows, or with four shares of one row more
// than three of the tallest have.
constexpr int lowest_tile(int shares, int tallest) {
  return shares == 1 ? 1 : shares == 4 ? (3 * tallest + 1) / 4 : (kTallest + 1) / 2;
}
// `height`, or the next that there is with so many shares: no code for tiles that never are.
constexpr int tile_height(int height, int shares, int tallest) {
  return std::min(tallest, std::max(height, lowest_tile(shares, tallest)));
}
inline int64_t parts_of(int64_t all, int64_t longest) { return (all + longest - 1) / longest; }

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
    float* y = a.at(row, output);
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
    float* y = a.at(row, output);
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

// One of `count` tiles of a block that is read as it lies in memory.
template <class Tiles>
void tile_of_block(int64_t height, int64_t count, const TileArgs& t) {
  if constexpr (Tiles::kDecodeFrom != 2) {
    if (count >= 4) return Tiles::template tile<4>(height, t);
    if (count > 1) return Tiles::template tile<2>(height, t);
  }
  Tiles::template tile<1>(height, t);
}

// All tiles of a block; t.sums are those of row 0 and the first panel.
template <class Tiles, bool kDecoded, class Job>
void block_of_tiles(const Job& job, const Rows& x, int64_t first_row, const Parts& tiles,
                    const Block& block, TileArgs t, LinearScratch& scratch) {
  using Pair = typename Tiles::Pair;
  const int64_t pairs = (job.weight().k + 1) / 2;
  float* const sums = t.sums;
  const std::byte* const ahead = t.ahead;
  const Parts share(t.pairs * t.panels * t.ahead_bytes, tiles.count);
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
    t.ahead = ahead + share.begin(i);
    if constexpr (kDecoded) {
      Tiles::template decoded_tile<kOneLine>(height, t);
    } else {
      tile_of_block<Tiles>(height, tiles.count, t);
    }
  }
}

template <class Tiles, class Job>
void panels_of_group(const Job& job, const Rows& x, int64_t first_row, const Parts& tiles,
                     const PanelRun& run, LinearScratch& scratch) {
  const auto& w = job.weight();
  const int64_t element = dtype_size(w.dtype), pairs = (w.k + 1) / 2;
  const PanelPlace place = panel_place(job.panels(), w.k, run.panel);
  const int64_t stride = place.stride * element;
  // With one or two tiles the first-level cache should hold this block and the next. Blocks are of
  // nearly equal length, since each fetches as much as it has.
  const bool scaled_or_few = Tiles::kScaled || tiles.count <= 2;
  const int64_t longest = scaled_or_few ? kFp8Block / 2 : kMaxBlockPairs;
  const Parts equal(pairs, parts_of(pairs, longest));
  const auto block_begin = [&](int64_t b) {
    return Tiles::kScaled ? std::min(b * longest, pairs) : equal.begin(b);
  };
  const bool decoded = Tiles::kDecodeFrom > 0 && tiles.count >= Tiles::kDecodeFrom;
  auto* sums = scratch.sums.as<float>();
  for (int64_t b = 0; b < equal.count; ++b) {
    const int64_t begin = block_begin(b);
    TileArgs t;
    t.pairs = block_begin(b + 1) - begin;
    t.panels = run.count;
    t.first = b == 0;
    t.w = w.data.data() + place.first * element + begin * stride;
    t.w_stride = stride;
    t.ahead = t.w + t.pairs * stride;
    t.ahead_bytes = static_cast<uint32_t>(2 * kPanel * element);
    t.ahead_tiles = static_cast<uint32_t>(tiles.count);
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
        part.sums = t.sums + p * kPanel;
        block_of_tiles<Tiles, true>(job, x, first_row, tiles, {b, begin, {run.panel + p, count}},
                                    part, scratch);
      }
    }
  }
  for (int64_t m = 0; m < tiles.all; ++m) {
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
  const Parts chunks(x.rows, parts_of(x.rows, kChunkRows));
  for (int64_t c = 0; c < chunks.count; ++c) {
    const int64_t first = chunks.begin(c), rows = chunks.begin(c + 1) - first;
    const Parts tiles(rows, parts_of(rows, Tiles::tallest(rows)));
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
