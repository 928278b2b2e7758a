#include "engine/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "engine/wire.h"
#include "model/digest.h"

namespace wingspan {
namespace {

// FNV-1a over whatever defines a thing; only equality matters.
class Hash {
 public:
  Hash& bytes(const void* data, size_t size) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < size; ++i) value_ = (value_ ^ p[i]) * 0x100000001b3ULL;
    return *this;
  }
  template <class T>
  Hash& number(T v) {
    return bytes(&v, sizeof(v));
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325ULL;
};

uint64_t placement_digest(const Placement& p) {
  Hash h;
  h.number(p.epoch).number(p.topology.experts);
  for (int slots : p.topology.rank_slots) h.number(slots);
  for (const LayerPlacement& l : p.layers) {
    h.number(l.layer);
    for (int e : l.slot_to_expert) h.number(e);
  }
  return h.value();
}

struct Statement {
  uint64_t config, headers, weights, placement;
  int64_t compute, contract, prefill_chunk, max_sequences, kv_tokens, join_rows, prefix_cache;
  char kernels[16];
};

Statement statement_of(const ModelHost& host, const Placement& placement,
                       const EngineOptions& options) {
  Statement s{};
  s.config = config_digest(host.config);
  s.headers = host.source->header_digest();
  // Two checkpoints of one shape have the same headers; the head's first bytes tell them apart.
  const PackedWeight& head = host.weights->head;
  s.weights = Hash().bytes(head.data.data(), std::min<size_t>(head.data.size(), 65536)).value();
  s.placement = placement_digest(placement);
  s.compute = static_cast<int64_t>(host.compute);
  s.contract = kNumericContractVersion;
  s.prefill_chunk = options.prefill_chunk;
  s.max_sequences = options.max_sequences_per_rank;
  s.kv_tokens = options.kv_tokens_per_rank;
  s.join_rows = static_cast<int64_t>(options.join_rows);
  s.prefix_cache = options.prefix_cache ? 1 : 0;
  std::strncpy(s.kernels, options.kernels->name, sizeof(s.kernels) - 1);
  return s;
}

Status compare(int rank, const Statement& mine, const Statement& theirs) {
  const auto differs = [&](const char* what) {
    return invalid_input(fmt::format("rank {} runs with another {} than this rank", rank, what),
                         "start", "start all ranks with the same options and files");
  };
  if (theirs.config != mine.config) return differs("model configuration");
  if (theirs.headers != mine.headers) return differs("checkpoint (names, shapes or sizes)");
  if (theirs.weights != mine.weights) return differs("checkpoint");
  if (theirs.placement != mine.placement) return differs("placement");
  if (theirs.compute != mine.compute) return differs("compute mode");
  if (theirs.contract != mine.contract) return differs("numeric contract");
  if (theirs.prefill_chunk != mine.prefill_chunk) return differs("prefill chunk");
  if (theirs.max_sequences != mine.max_sequences || theirs.kv_tokens != mine.kv_tokens) {
    return differs("limit of sequences");
  }
  if (theirs.join_rows != mine.join_rows) return differs("choice of joined rows");
  if (theirs.prefix_cache != mine.prefix_cache) return differs("choice of a prefix cache");
  if (std::strncmp(theirs.kernels, mine.kernels, sizeof(mine.kernels)) != 0) {
    return differs("kernel kind");
  }
  return {};
}

struct ReplicaDigest {
  int32_t layer_index, expert;
  uint64_t digest;
};

// The digests of this rank's slots whose expert has more than one slot.
std::vector<ReplicaDigest> replica_digests(const Placement& placement, const RankExperts& experts,
                                           int rank) {
  std::vector<ReplicaDigest> out;
  const int first = placement.topology.first_slot(rank);
  for (size_t m = 0; m < experts.digests.size(); ++m) {
    const auto& slots = placement.layers[m].slot_to_expert;
    std::vector<int> count(static_cast<size_t>(placement.topology.experts));
    for (int e : slots) ++count[static_cast<size_t>(e)];
    for (size_t s = 0; s < experts.digests[m].size(); ++s) {
      const int expert = slots[static_cast<size_t>(first) + s];
      if (count[static_cast<size_t>(expert)] < 2) continue;
      out.push_back({static_cast<int32_t>(m), expert, experts.digests[m][s]});
    }
  }
  return out;
}

}  // namespace

Status agree_at_start(Group& group, const ModelHost& host, const Placement& placement,
                      const RankExperts& experts, const EngineOptions& options) {
  group.set_progress({0, -1, "start"});
  const Statement mine = statement_of(host, placement, options);
  WS_ASSIGN(auto channel, group.open_channel(sizeof(Statement), "start"));
  const auto check = [&](int rank, std::span<const std::byte> bytes) -> Status {
    Statement theirs;
    if (bytes.size() != sizeof(theirs))
      return failed(fmt::format("rank {} is of another build", rank));
    std::memcpy(&theirs, bytes.data(), sizeof(theirs));
    return compare(rank, mine, theirs);
  };
  WS_RETURN_IF_ERROR(all_gather(*channel, group.size(), std::as_bytes(std::span(&mine, 1)), check));

  const auto digests = replica_digests(placement, experts, group.rank());
  int most = 0;
  for (int slots : placement.topology.rank_slots) most = std::max(most, slots);
  const size_t capacity = std::max<size_t>(1, placement.layers.size() * static_cast<size_t>(most)) *
                          sizeof(ReplicaDigest);
  WS_ASSIGN(auto replicas, group.open_channel(capacity, "start"));
  std::map<std::pair<int32_t, int32_t>, std::pair<uint64_t, int>> seen;
  const auto collect = [&](int rank, std::span<const std::byte> bytes) -> Status {
    for (size_t at = 0; at + sizeof(ReplicaDigest) <= bytes.size(); at += sizeof(ReplicaDigest)) {
      ReplicaDigest d;
      std::memcpy(&d, bytes.data() + at, sizeof(d));
      const auto [it, added] = seen.try_emplace({d.layer_index, d.expert}, d.digest, rank);
      if (added || it->second.first == d.digest) continue;
      return failed(
          fmt::format("the replicas of expert {} on ranks {} and {} hold different bytes", d.expert,
                      it->second.second, rank),
          fmt::format("layer {}", placement.layers[static_cast<size_t>(d.layer_index)].layer),
          "the ranks read different files, or a file changed while it was read");
    }
    return {};
  };
  return all_gather(*replicas, group.size(), std::as_bytes(std::span(digests)), collect);
}

}  // namespace wingspan
