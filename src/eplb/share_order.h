// Experts by the load of one replica.
#pragma once

#include <cstddef>
#include <vector>

namespace wingspan {

// What is nearly in order, by insertion.
template <class T, class Before>
void sort_nearly_sorted(std::vector<T>& items, const Before& before) {
  for (size_t i = 1; i < items.size(); ++i) {
    const T one = items[i];
    size_t to = i;
    for (; to > 0 && before(one, items[to - 1]); --to) items[to] = items[to - 1];
    items[to] = one;
  }
}

struct ExpertShare {
  double share = 0;  // not negative
  int expert = 0;
};

// Largest share first, then the lowest expert. By digits: a comparison sort spends most of its time
// on branches that no CPU guesses.
void sort_by_share(std::vector<ExpertShare>& shares);

}  // namespace wingspan
