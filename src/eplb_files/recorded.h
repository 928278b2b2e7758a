// Loads and placements as other programs record them, before they meet a topology.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace wingspan {

// Counts of [layers][experts], row after row: exact int64 as long as all are whole, else double.
class CountTable {
 public:
  CountTable() = default;
  CountTable(size_t layers, size_t experts) : layers_(layers), experts_(experts) {}

  size_t layers() const { return layers_; }
  size_t experts() const { return experts_; }
  bool is_whole() const { return real_.empty(); }
  // Appends the next count. Errors: negative, not finite.
  Status append(int64_t count);
  Status append(double count);
  bool complete() const { return size() == layers_ * experts_; }
  size_t size() const { return is_whole() ? whole_.size() : real_.size(); }

  double at(size_t layer, size_t expert) const;
  // Only where is_whole().
  int64_t whole_at(size_t layer, size_t expert) const;
  // Adds a table of the same shape. Error: a sum beyond int64 (names layer row and expert), or one
  // that is not finite.
  Status add(const CountTable& other);
  std::vector<std::vector<double>> rows() const;

 private:
  void make_real();
  size_t layers_ = 0, experts_ = 0;
  std::vector<int64_t> whole_;
  std::vector<double> real_;
};

struct RecordedWindow {
  int64_t steps = 1, tokens = 0;  // tokens 0: unknown
  CountTable counts;
};

struct RecordedLoad {
  std::string format, model;
  int experts = 0;
  std::vector<int> layers;  // the model's layer numbers; row numbers where the file has none
  std::vector<RecordedWindow> windows;

  Expected<CountTable> total() const;
};

struct RecordedPlacement {
  std::string format;
  int64_t epoch = 0;
  int ranks = 0;                // 0: the file does not say
  std::vector<int> rank_slots;  // only of files where ranks differ or are told; may be empty
  int experts = 0;              // largest id + 1 where the file does not say
  int nodes = 1, groups = 1;
  std::string model;
  std::vector<int> layers;
  std::vector<std::vector<int>> slot_to_expert;  // [layers][slots], all of one length
};

// Bounds on what a file may declare, far above any real model.
inline constexpr int64_t kMostLayers = 1 << 16;
inline constexpr int64_t kMostExperts = 1 << 20;

}  // namespace wingspan
