// One cell of the matrix that `verify` runs, and the comparison of two cells bit by bit.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/session.h"

namespace wingspan {

enum class BatchOrder { kTogether, kAlone, kReversed };

// What must not change a bit.
struct Variant {
  int ranks = 1;
  std::string placement = "linear";  // linear, shuffled, replicated, or "file"
  BatchOrder batch = BatchOrder::kTogether;
  int64_t chunk = 512;
  int threads = 1;
  const Kernels* kernels = nullptr;
  std::string name() const;
};

// All that a run shows, by prompt and position.
struct Shown {
  using Row = std::pair<int, int64_t>;
  std::vector<RequestResult> results;
  std::map<Row, std::vector<float>> logits;
  std::map<std::pair<Row, int>, std::vector<float>> hidden;  // and layer; only if asked for
};

struct Difference {
  int64_t tokens = 0;          // compared: prompt and output positions with logits
  int64_t differing_bits = 0;  // of ids, log probabilities and logits
  std::optional<Shown::Row> first;
};
Difference compare(const Shown& reference, const Shown& other);
// The first layer of a row whose hidden state differs; nothing if none does.
std::optional<int> first_differing_layer(const Shown& reference, const Shown& other,
                                         Shown::Row row);

// Runs one variant over the requests. `hidden`: capture the hidden states too.
Expected<Shown> run_variant(const SessionSetup& base, std::shared_ptr<const ModelHost> host,
                            const Variant& variant, const std::vector<Request>& requests,
                            bool hidden);

}  // namespace wingspan
