// Ranks that live in one process, at work on one task together: memory that all of them see, and
// rounds of pieces that whoever is free takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"

namespace wingspan {

// One rank's handle. A round, on every rank:
//
//   write to memory(); meet()        from here on all see what all wrote
//   while ((piece = take(pieces)) >= 0): the piece; done(pieces)        from any thread of the rank
//   finish(pieces)                   all pieces of all ranks are done
//
// `pieces` is the same on all ranks; with none, finish() need not be called. A rank may be a round
// behind the others when they write again: use the halves of the memory in turn.
class Crew {
 public:
  virtual ~Crew() = default;
  // The same bytes on every rank, 64-byte aligned, zero at first.
  virtual std::span<std::byte> memory() = 0;
  // CPUs that the ranks together may use; the same on every rank.
  virtual int cpus() const = 0;
  // Waits until all ranks have come. Error kPeerLost: as Channel::wait.
  virtual Status meet() = 0;
  // A piece that nobody else gets, or −1 when none is left.
  virtual int64_t take(int64_t pieces) = 0;
  virtual void done(int64_t pieces) = 0;
  virtual Status finish(int64_t pieces) = 0;
};

}  // namespace wingspan
