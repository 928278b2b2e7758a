#include "eplb/assignment.h"

#include <cstddef>
#include <limits>

namespace wingspan {
namespace {

// Extends a minimum-cost matching by one row at a time along shortest augmenting paths. Index 0 is
// a sentinel, so rows and columns count from 1.
class Matcher {
 public:
  explicit Matcher(const std::vector<std::vector<int>>& gain)
      : gain_(gain),
        n_(gain.size()),
        row_potential_(n_ + 1),
        column_potential_(n_ + 1),
        row_of_(n_ + 1),
        previous_(n_ + 1) {}

  std::vector<int> run() {
    for (size_t row = 1; row <= n_; ++row) add(row);
    std::vector<int> out(n_);
    for (size_t column = 1; column <= n_; ++column) {
      out[row_of_[column] - 1] = static_cast<int>(column - 1);
    }
    return out;
  }

 private:
  void add(size_t row) {
    row_of_[0] = row;
    size_t column = 0;
    least_.assign(n_ + 1, std::numeric_limits<int>::max());
    used_.assign(n_ + 1, false);
    do {
      column = grow(column);
    } while (row_of_[column] != 0);
    while (column != 0) {
      row_of_[column] = row_of_[previous_[column]];
      column = previous_[column];
    }
  }

  // Adds `column` to the tree and returns the nearest column outside it.
  size_t grow(size_t column) {
    used_[column] = true;
    const size_t row = row_of_[column];
    int delta = std::numeric_limits<int>::max();
    size_t next = 0;
    for (size_t c = 1; c <= n_; ++c) {
      if (used_[c]) continue;
      const int cost = -gain_[row - 1][c - 1] - row_potential_[row] - column_potential_[c];
      if (cost < least_[c]) {
        least_[c] = cost;
        previous_[c] = column;
      }
      if (least_[c] < delta) {
        delta = least_[c];
        next = c;
      }
    }
    for (size_t c = 0; c <= n_; ++c) {
      if (used_[c]) {
        row_potential_[row_of_[c]] += delta;
        column_potential_[c] -= delta;
      } else if (c > 0) {
        least_[c] -= delta;
      }
    }
    return next;
  }

  const std::vector<std::vector<int>>& gain_;
  size_t n_;
  std::vector<int> row_potential_, column_potential_, least_;
  std::vector<size_t> row_of_, previous_;
  std::vector<bool> used_;
};

}  // namespace

std::vector<int> best_assignment(const std::vector<std::vector<int>>& gain) {
  return Matcher(gain).run();
}

}  // namespace wingspan
