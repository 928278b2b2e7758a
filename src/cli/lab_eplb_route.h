// Real tokens of a model before and after their experts moved: same experts, same bits, other
// ranks.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

namespace wingspan {

struct MovedToken {
  std::string text;
  std::vector<int32_t> experts_before, experts_after;  // in the router's order
};

struct MovedTokens {
  int layer = 0;
  Placement before, after;         // of all MoE layers
  std::vector<MovedToken> tokens;  // of the prompts, at `layer`
  int64_t choices = 0;             // (token, layer) pairs that were routed
  int64_t same_choices = 0;        // that got the same experts in the same order both times
  int64_t compared_rows = 0;       // rows of logits, log probabilities and ids
  int64_t differing_bits = 0;
  std::vector<std::vector<double>> rank_load_before, rank_load_after;  // [layers][ranks], tokens
  double balancedness_before = 1, balancedness_after = 1;              // means over layers
};

// Runs prompts of one domain over `ranks` ranks with experts in order, plans a placement with
// `redundant` further slots for the load of these very tokens, and runs them again.
Expected<MovedTokens> run_moved_tokens(const std::string& model, int ranks, int redundant);

}  // namespace wingspan
