#include "cli/verify_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace wingspan {
namespace {

const char* batch_name(BatchOrder order) {
  return order == BatchOrder::kAlone      ? "alone"
         : order == BatchOrder::kReversed ? "reversed"
                                          : "together";
}

// Puts what a run shows under the numbers that the prompts have in the reference.
class AnswerKeeper final : public RunSink {
 public:
  AnswerKeeper(Shown& shown, std::vector<int> numbers)
      : shown_(shown), numbers_(std::move(numbers)) {}
  void on_logits(int request, int64_t position, std::span<const float> row) override {
    shown_.logits[{number(request), position}].assign(row.begin(), row.end());
  }
  void on_hidden(int request, int64_t position, int layer, std::span<const float> row) override {
    shown_.hidden[{{number(request), position}, layer}].assign(row.begin(), row.end());
  }
  int number(int request) const { return numbers_[static_cast<size_t>(request)]; }

 private:
  Shown& shown_;
  std::vector<int> numbers_;
};

Placement placement_of(const SessionSetup& base, const Variant& v) {
  const int experts = base.config.moe.router.experts;
  const auto layers = base.config.moe_layers();
  if (layers.empty() || v.placement == "file") {
    Placement p = base.placement;
    if (layers.empty()) p.topology.rank_slots = even_rank_slots(1, v.ranks);
    return p;
  }
  // With one rank replicas say nothing, and a shuffle still moves the slots.
  const int redundant = v.ranks > 1 ? std::max(v.ranks, experts / 8) : 0;
  if (v.placement == "shuffled") return shuffled_placement(experts, layers, v.ranks, 1);
  if (v.placement == "replicated") {
    return replicated_placement(experts, layers, v.ranks, redundant, 2);
  }
  return contiguous_placement(experts, layers, v.ranks);
}

int64_t bits_between(uint32_t a, uint32_t b) { return std::popcount(a ^ b); }

int64_t bits_between(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return 32 * static_cast<int64_t>(std::max(a.size(), b.size()));
  if (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0) return 0;
  int64_t bits = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    bits += bits_between(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]));
  }
  return bits;
}

int64_t bits_between(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  int64_t bits =
      32 * static_cast<int64_t>(std::max(a.size(), b.size()) - std::min(a.size(), b.size()));
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    bits += bits_between(static_cast<uint32_t>(a[i]), static_cast<uint32_t>(b[i]));
  }
  return bits;
}

// The runs that a batch order makes of the prompts: numbers of the prompts of each.
std::vector<std::vector<int>> batches_of(BatchOrder order, size_t prompts) {
  std::vector<std::vector<int>> out;
  std::vector<int> all;
  for (int i = 0; i < static_cast<int>(prompts); ++i) {
    all.push_back(i);
    if (order == BatchOrder::kAlone) out.push_back({i});
  }
  if (order == BatchOrder::kAlone) return out;
  if (order == BatchOrder::kReversed) std::reverse(all.begin(), all.end());
  return {all};
}

}  // namespace

std::string Variant::name() const {
  return fmt::format("ep {} {}, {}, chunk {}, {} thread{}, {} ({})", ranks, placement,
                     batch_name(batch), chunk, threads, threads == 1 ? "" : "s", kernels->name,
                     kernels->variant);
}

Difference compare(const Shown& reference, const Shown& other) {
  Difference d;
  const auto note_row = [&](Shown::Row row, int64_t bits) {
    d.differing_bits += bits;
    if (bits > 0 && (!d.first || row < *d.first)) d.first = row;
  };
  for (const auto& [row, logits] : reference.logits) {
    ++d.tokens;
    const auto found = other.logits.find(row);
    note_row(row, found == other.logits.end() ? 32 * static_cast<int64_t>(logits.size())
                                              : bits_between(logits, found->second));
  }
  for (size_t i = 0; i < reference.results.size(); ++i) {
    const RequestResult &a = reference.results[i], &b = other.results[i];
    const int64_t bits = bits_between(a.output_ids, b.output_ids) +
                         bits_between(a.logprobs, b.logprobs) +
                         bits_between(a.prompt_logprobs, b.prompt_logprobs);
    // Rows come first in the search, so only a difference that no row shows is named by this.
    d.differing_bits += bits;
    if (bits > 0 && !d.first) d.first = Shown::Row{static_cast<int>(i), 0};
  }
  return d;
}

std::optional<int> first_differing_layer(const Shown& reference, const Shown& other,
                                         Shown::Row row) {
  for (const auto& [key, hidden] : reference.hidden) {
    if (key.first != row) continue;
    const auto found = other.hidden.find(key);
    if (found == other.hidden.end() || bits_between(hidden, found->second) > 0) return key.second;
  }
  return std::nullopt;
}

Expected<Shown> run_variant(const SessionSetup& base, std::shared_ptr<const ModelHost> host,
                            const Variant& variant, const std::vector<Request>& requests,
                            bool hidden) {
  SessionSetup setup = base;
  setup.mpi = base.mpi && variant.ranks == base.ranks;
  setup.ranks = variant.ranks;
  setup.threads_per_rank = variant.threads;
  setup.options.prefill_chunk = variant.chunk;
  setup.kernels = variant.kernels;
  setup.placement = placement_of(base, variant);
  Shown shown;
  shown.results.resize(requests.size());
  RunOptions run;
  run.capture = {.logits = true, .prompt_logits = true, .hidden = hidden, .routing = false};
  const auto batches = batches_of(variant.batch, requests.size());
  WS_RETURN_IF_ERROR(run_ranks(
      setup, std::move(host), limits_for(setup, requests, variant.ranks),
      [&](RankContext& rank) -> Status {
        for (const auto& numbers : batches) {
          std::vector<Request> batch;
          for (const int n : numbers) batch.push_back(requests[static_cast<size_t>(n)]);
          AnswerKeeper keeper(shown, numbers);
          RunSink silent;
          const bool first = rank.group.rank() == 0;
          WS_ASSIGN(RunReport report,
                    rank.engine.run(batch, run, first ? static_cast<RunSink&>(keeper) : silent));
          for (size_t i = 0; first && i < numbers.size(); ++i) {
            shown.results[static_cast<size_t>(numbers[i])] = std::move(report.results[i]);
          }
        }
        return {};
      }));
  return shown;
}

}  // namespace wingspan
