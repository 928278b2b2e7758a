// Lowers the largest rank load of a packing by small steps.
#pragma once

#include <cstdint>

#include "eplb/packing.h"

namespace wingspan {

// A change of one slot (replace: its expert makes room for another one's further replica) or of two
// (swap of slots on different ranks), and the largest load of the ranks it touches.
struct Step {
  enum class Kind { kNone, kSwap, kReplace } kind = Kind::kNone;
  int slot = -1, other = -1;  // kSwap: the other slot; kReplace: the expert that comes
  double load = 0;
};

// Finds steps. Rules 2 and 3 hold after each; slots of `filler` (construct.h) are left alone.
class StepFinder {
 public:
  StepFinder(const Packing& packing, int filler) : packing_(packing), filler_(filler) {}

  // The step that leaves the lowest largest load among the ranks it touches, of those that lower
  // the load of `rank` and leave all touched ranks below `limit`. A swap whose load is at most
  // `enough` is taken at once. kNone: there is none.
  Step best_swap(int rank, double limit, double enough) const;
  Step best_replace(int rank, double limit, double enough) const;
  // The largest load among the ranks that a replacement touches, which the slot's rank must not
  // hold yet; any value ≥ `limit` as soon as it is known to reach it.
  double replaced_load(int slot, int expert, double limit) const;

 private:
  bool movable(int slot) const { return packing_.expert(slot) != filler_; }
  bool may_swap(int a, int b) const {
    return movable(a) && movable(b) && !packing_.holds(packing_.rank_of(b), packing_.expert(a)) &&
           !packing_.holds(packing_.rank_of(a), packing_.expert(b));
  }
  void try_replace(int slot, int expert, Step& best) const;

  const Packing& packing_;
  int filler_;
};

void apply(const Step& step, Packing& packing);

// Takes the best step at the busiest rank until its load is at most `target` or no step helps; each
// step lowers the sorted list of rank loads. Returns the steps taken, at most `max_steps`.
int descend(Packing& packing, int filler, double target, int max_steps);

}  // namespace wingspan
