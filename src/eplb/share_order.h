// Experts by the load of one replica.
#pragma once

#include <vector>

namespace wingspan {

struct ExpertShare {
  double share = 0;  // not negative
  int expert = 0;
};

// Largest share first, then the lowest expert. By digits: a comparison sort spends most of its time
// on branches that no CPU guesses.
void sort_by_share(std::vector<ExpertShare>& shares);

}  // namespace wingspan
