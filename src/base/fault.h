// Deliberate faults, so that tests can show that the exactness suite would notice them. Only tests
// set one; in a run without, each site costs one relaxed load.
#pragma once

#include <atomic>

namespace wingspan {

enum class Fault {
  kNone,
  kSumPerRankBeforeCombine,  // outputs that share a rank are summed on the way
  kSwapTwoAddends,           // combine adds top-k positions 1 and 0 in the other order
  kTiesToHighestIndex,       // the router breaks ties the other way
  kScaleOverBatch,           // activations are scaled by the largest row of the step
  kFlipReplicaBit,           // one weight bit of a replica other than the first is wrong
  kChunkByRowCount,          // attention reduces in blocks whose size follows the number of rows
};

namespace internal {
inline std::atomic<Fault> active_fault{Fault::kNone};
}

inline bool fault_is(Fault fault) {
  return internal::active_fault.load(std::memory_order_relaxed) == fault;
}

// Sets a fault for the lifetime of this object. Not for use in the product.
class ScopedFault {
 public:
  explicit ScopedFault(Fault fault) { internal::active_fault.store(fault); }
  ~ScopedFault() { internal::active_fault.store(Fault::kNone); }
  ScopedFault(const ScopedFault&) = delete;
  ScopedFault& operator=(const ScopedFault&) = delete;
};

}  // namespace wingspan
