// A twin that misbehaves on purpose, from a seed: delays, stops, dies, or flips a bit, so that
// tests can see what the ranks make of it.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/group.h"

namespace wingspan {

struct FaultPlan {
  uint64_t seed = 1;
  double delay_probability = 0;  // per post and per wait
  int max_delay_us = 0;
  // This rank fails its own exchange (returns an error) at this step and layer; −1: never.
  int64_t die_at_step = -1;
  int die_at_layer = -1;
  // This rank stops answering (sleeps, without an error) at this step until the group is aborted.
  int64_t stop_at_step = -1;
  // Flips one bit in the n-th posted non-empty message (0-based); −1: never.
  int64_t corrupt_message = -1;
};

std::unique_ptr<Group> make_faulty(std::unique_ptr<Group> inner, const FaultPlan& plan);

}  // namespace wingspan
