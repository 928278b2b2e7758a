#include "eplb/migration.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "base/check.h"
#include "eplb/assignment.h"
#include "eplb/share.h"

namespace wingspan {
namespace {

using Hands = std::vector<std::vector<int>>;

// The experts of each rank, sorted.
Hands sorted_hands(const Topology& t, std::span<const int> slots) {
  Hands out;
  size_t first = 0;
  for (const int size : t.rank_slots) {
    const auto hand = slots.subspan(first, at(size));
    out.emplace_back(hand.begin(), hand.end());
    std::sort(out.back().begin(), out.back().end());
    first += at(size);
  }
  return out;
}

// A rank that holds an expert, so many times.
struct Holder {
  int rank, count;
};

// The holders of each expert.
std::vector<std::vector<Holder>> holders_of(const Hands& hands, int experts) {
  std::vector<std::vector<Holder>> out(at(experts));
  for (size_t rank = 0; rank < hands.size(); ++rank) {
    for (const int e : hands[rank]) {
      auto& list = out[at(e)];
      if (!list.empty() && list.back().rank == static_cast<int>(rank)) {
        ++list.back().count;
      } else {
        list.push_back({static_cast<int>(rank), 1});
      }
    }
  }
  return out;
}

// [a's ranks][b's ranks]: slots whose expert both hold.
std::vector<std::vector<int>> common_slots(const Hands& a, const Hands& b, int experts) {
  const auto in_a = holders_of(a, experts), in_b = holders_of(b, experts);
  std::vector<std::vector<int>> out(a.size(), std::vector<int>(b.size()));
  for (int e = 0; e < experts; ++e) {
    for (const Holder& x : in_a[at(e)]) {
      for (const Holder& y : in_b[at(e)]) {
        out[at(x.rank)][at(y.rank)] += std::min(x.count, y.count);
      }
    }
  }
  return out;
}

class Relabeler {
 public:
  Relabeler(const Topology& topology, std::span<const int> current, std::span<const int> target)
      : t_(topology),
        current_(current),
        held_(sorted_hands(topology, current)),
        wanted_(sorted_hands(topology, target)),
        common_(common_slots(held_, wanted_, topology.experts)),
        from_(at(topology.ranks())) {}

  std::vector<int> run() {
    const int nodes = t_.grouped() ? t_.nodes : 1, ranks = t_.ranks() / nodes;
    std::vector<std::vector<Pairing>> pairings(at(nodes), std::vector<Pairing>(at(nodes)));
    std::vector<std::vector<int>> gain(at(nodes), std::vector<int>(at(nodes)));
    for (int a = 0; a < nodes; ++a) {
      for (int b = 0; b < nodes; ++b) {
        pairings[at(a)][at(b)] = pair_ranks(a * ranks, b * ranks, ranks);
        gain[at(a)][at(b)] = pairings[at(a)][at(b)].kept;
      }
    }
    const std::vector<int> node_of = best_assignment(gain);
    for (int a = 0; a < nodes; ++a) {
      const Pairing& pairing = pairings[at(a)][at(node_of[at(a)])];
      for (int r = 0; r < ranks; ++r) from_[at(a * ranks + r)] = pairing.rank[at(r)];
    }
    return arrange();
  }

 private:
  struct Pairing {
    std::vector<int> rank;  // of the target, for each rank of the current node
    int kept = 0;           // slots that need not change; far below 0: sizes don't fit
  };
  static constexpr int kForbidden = -(1 << 26);

  Pairing pair_ranks(int current_first, int target_first, int ranks) const {
    // Ranks of one size are assigned among each other.
    std::map<int, std::pair<std::vector<int>, std::vector<int>>> by_size;
    for (int r = 0; r < ranks; ++r) {
      by_size[t_.rank_slots[at(current_first + r)]].first.push_back(r);
      by_size[t_.rank_slots[at(target_first + r)]].second.push_back(target_first + r);
    }
    Pairing out;
    out.rank.resize(at(ranks));
    for (const auto& [size, lists] : by_size) {
      const auto& [here, there] = lists;
      if (here.size() != there.size()) return {{}, kForbidden};
      std::vector<std::vector<int>> gain(here.size(), std::vector<int>(here.size()));
      for (size_t i = 0; i < here.size(); ++i) {
        for (size_t j = 0; j < here.size(); ++j) {
          gain[i][j] = common_[at(current_first + here[i])][at(there[j])];
        }
      }
      const std::vector<int> column = best_assignment(gain);
      for (size_t i = 0; i < here.size(); ++i) {
        out.rank[at(here[i])] = there[at(column[i])];
        out.kept += gain[i][at(column[i])];
      }
    }
    return out;
  }

  // Experts that stay keep their slot; the others fill the slots that are left, in order.
  std::vector<int> arrange() const {
    std::vector<int> out(current_.size(), -1);
    size_t first = 0;
    for (size_t rank = 0; rank < from_.size(); ++rank) {
      std::vector<int> left = wanted_[at(from_[rank])];
      const size_t end = first + at(t_.rank_slots[rank]);
      for (size_t s = first; s < end; ++s) {
        const auto found = std::find(left.begin(), left.end(), current_[s]);
        if (found == left.end()) continue;
        out[s] = *found;
        left.erase(found);
      }
      auto next = left.begin();
      for (size_t s = first; s < end; ++s) {
        if (out[s] < 0) out[s] = *next++;
      }
      first = end;
    }
    return out;
  }

  const Topology& t_;
  std::span<const int> current_;
  Hands held_, wanted_;
  std::vector<std::vector<int>> common_;  // [ranks][ranks of the target]: slots that may stay
  std::vector<int> from_;                 // the target's rank for each rank
};

class MoveOrder {
 public:
  MoveOrder(const Topology& topology, std::span<const int> from, std::span<const int> to,
            int first_batch)
      : t_(topology),
        now_(from.begin(), from.end()),
        to_(to),
        rank_of_(from.size()),
        slots_of_(at(topology.experts)),
        sent_(at(topology.ranks())),
        batch_(first_batch) {
    size_t slot = 0;
    for (int rank = 0; rank < t_.ranks(); ++rank) {
      for (int i = 0; i < t_.rank_slots[at(rank)]; ++i) rank_of_[slot++] = rank;
    }
    for (size_t s = 0; s < now_.size(); ++s) slots_of_[at(now_[s])].push_back(static_cast<int>(s));
    for (size_t s = 0; s < now_.size(); ++s) {
      if (now_[s] != to_[s]) open_.push_back(static_cast<int>(s));
    }
  }

  std::vector<Move> run() {
    while (!open_.empty()) {
      if (!take_free_moves()) take_cycle();
    }
    return std::move(out_);
  }

 private:
  // All moves, in order of slot, whose old expert has another replica when their turn comes.
  bool take_free_moves() {
    bool any = false;
    std::vector<int> left;
    for (const int slot : open_) {
      if (slots_of_[at(now_[at(slot)])].size() < 2) {
        left.push_back(slot);
        continue;
      }
      const int source = source_for(slot);
      out_.push_back({slot, to_[at(slot)], source, -1});
      write(slot);
      any = true;
    }
    open_ = std::move(left);
    return any;
  }

  // Every open slot holds the last replica of its expert, which some open slot must therefore
  // receive: following that from slot to slot ends in a cycle.
  void take_cycle() {
    std::map<int, int> receiver;  // expert -> open slot
    for (const int slot : open_) receiver.emplace(to_[at(slot)], slot);
    std::vector<int> path;
    int slot = open_.front();
    while (std::find(path.begin(), path.end(), slot) == path.end()) {
      path.push_back(slot);
      const auto next = receiver.find(now_[at(slot)]);
      WS_CHECK(next != receiver.end(), "expert {} would be lost", now_[at(slot)]);
      slot = next->second;
    }
    path.erase(path.begin(), std::find(path.begin(), path.end(), slot));
    for (const int s : path) out_.push_back({s, to_[at(s)], source_for(s), batch_});
    ++batch_;
    for (const int s : path) write(s);
    std::erase_if(open_,
                  [&](int s) { return std::find(path.begin(), path.end(), s) != path.end(); });
  }

  int source_for(int slot) {
    const int rank = rank_of_[at(slot)];
    const int node_ranks = t_.ranks() / t_.nodes;
    int best = -1;
    const auto better = [&](int a, int b) {
      const auto key = [&](int r) {
        return std::tuple(r != rank, r / node_ranks != rank / node_ranks, sent_[at(r)], r);
      };
      return key(a) < key(b);
    };
    for (const int s : slots_of_[at(to_[at(slot)])]) {
      const int candidate = rank_of_[at(s)];
      if (best < 0 || better(candidate, best)) best = candidate;
    }
    WS_CHECK(best >= 0, "expert {} has no slot", to_[at(slot)]);
    if (best != rank) ++sent_[at(best)];
    return best;
  }

  void write(int slot) {
    std::erase(slots_of_[at(now_[at(slot)])], slot);
    now_[at(slot)] = to_[at(slot)];
    slots_of_[at(now_[at(slot)])].push_back(slot);
  }

  const Topology& t_;
  std::vector<int> now_;
  std::span<const int> to_;
  std::vector<int> rank_of_;
  std::vector<std::vector<int>> slots_of_;  // by expert, as of now
  std::vector<int> sent_;                   // moves that each rank was the source of
  std::vector<int> open_;                   // slots still to be written
  int batch_;
  std::vector<Move> out_;
};

}  // namespace

std::vector<int> relabel(const Topology& topology, std::span<const int> current,
                         std::span<const int> target) {
  WS_CHECK(current.size() == target.size(), "{} slots, {}", current.size(), target.size());
  return Relabeler(topology, current, target).run();
}

int count_moves(std::span<const int> from, std::span<const int> to) {
  int count = 0;
  for (size_t s = 0; s < from.size(); ++s) count += from[s] != to[s];
  return count;
}

std::vector<Move> order_moves(const Topology& topology, std::span<const int> from,
                              std::span<const int> to, int first_batch) {
  return MoveOrder(topology, from, to, first_batch).run();
}

}  // namespace wingspan
