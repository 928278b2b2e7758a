// Dispatch and combine: token rows travel to the ranks of their experts' slots, and the experts'
// outputs travel back.
//
// Order of calls in one layer, on every rank, also on one without tokens:
//   dispatch -> receive -> (the caller fills each pair's output) -> send_outputs -> combine
//
// A row travels at most once to each rank and fans out to slots there. An output travels as one row
// for each (token, expert): summing first what shares a rank would let the placement decide the
// order of a sum. Nothing is allocated after create().
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "comm/group.h"
#include "ep/slot_map.h"
#include "kernels/kernels.h"
#include "kernels/rows.h"

namespace wingspan {

struct ExchangeShape {
  int64_t hidden = 0;
  DType row_dtype = DType::kF32;  // of the rows that travel to the experts
  int top_k = 0;
  int64_t max_rows = 0;     // tokens of one rank in one step
  int max_local_slots = 0;  // of any rank and layer
};

struct DispatchInput {
  const std::byte* rows = nullptr;  // [count][row_stride], in packed form (kernels/rows.h)
  int64_t row_stride = 0;           // bytes
  int64_t count = 0;
  const int32_t* experts = nullptr;  // [count][top_k], descending selection score
  int64_t first_token_index = 0;     // row i is token first_token_index + i: spreads replicas
};

// One (token, expert) that this rank computes.
struct ReceivedPair {
  const std::byte* row = nullptr;  // packed form, valid until send_outputs()
  float* output = nullptr;         // [hidden], to be filled before send_outputs()
};

// Pairs sorted by local slot: slot s has pairs [begin[s], begin[s + 1]).
struct ReceivedRows {
  std::span<const int64_t> begin;
  std::span<const ReceivedPair> pairs;
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  // Where the next calls belong, for the diagnosis of a lost peer.
  virtual void set_place(int64_t step, int layer) = 0;
  virtual Status dispatch(const SlotMap& map, const DispatchInput& input) = 0;
  virtual Expected<ReceivedRows> receive() = 0;
  virtual Status send_outputs() = 0;
  // out [count][hidden] = Σ_j weights[j] · output_j in ascending top-k position j, by the op
  // combine (kernels/combine.h). weights [count][top_k].
  virtual Status combine(const Kernels& kernels, const float* weights, float* out,
                         int64_t out_stride) = 0;
};

// Collective.
Expected<std::unique_ptr<Exchange>> make_exchange(Group& group, const ExchangeShape& shape);
// The slow, obvious twin: every rank sends all its rows and choices to every rank, which picks its
// own; outputs come back in the sender's own numbering. Kept to test the fast one.
Expected<std::unique_ptr<Exchange>> make_exchange_ref(Group& group, const ExchangeShape& shape);

}  // namespace wingspan
