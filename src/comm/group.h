// A group of ranks and the exchanges between them. comm knows bytes; it never knows what they mean.
//
// Rank code is SPMD: every rank makes the same sequence of rounds on every channel, also with
// nothing to say. All waiting of a rank goes through its Group, so a peer that dies or stops is a
// diagnosed error on every other rank, never a hang.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "comm/crew.h"

namespace wingspan {

// Where the rank is, for diagnoses: "step 17, layer 3, dispatch".
struct Progress {
  int64_t step = 0;
  int layer = -1;             // −1: outside the layers
  const char* exchange = "";  // static string: "dispatch", "combine", "commit", "start", …
};

// An all-to-all of non-static sizes, repeated in rounds.
//
// Every ordered pair (sender, receiver) has a region of `capacity` bytes; the sender writes its
// rows there and posts how many bytes count, so no counts are exchanged first. A round of one rank:
//
//   for each peer p:  write into send_region(p); post(p, bytes)     // once per peer, 0 bytes
//   allowed for each peer p:  wait(p) -> the bytes p posted to me, readable in place finish() //
//   done with what was received
//
// A rank posts to itself too, and to all peers before it waits for any. Regions are
// double-buffered: what was received in round n stays readable until this rank calls finish() for
// round n; a sender may fill round n + 1 at once, and is held back in send_region() of round n + 2
// only until the receiver finished round n.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual size_t capacity() const = 0;  // bytes of one region
  // Writable until post(peer). 64-byte aligned. May wait (see above), and so may fail.
  virtual Expected<std::span<std::byte>> send_region(int peer) = 0;
  // Publishes the first `bytes` of the region.
  virtual Status post(int peer, size_t bytes) = 0;
  // Waits until `peer` has posted this round. Error kPeerLost: it died, or the deadline passed.
  virtual Expected<std::span<const std::byte>> wait(int peer) = 0;
  // Waits for all peers.
  virtual Status wait_all() = 0;
  virtual Status finish() = 0;
};

struct GroupOptions {
  int64_t deadline_ms = 8000;  // a peer silent for longer in one wait is lost
};

// One rank's handle. A rank uses its own from one thread only.
class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const char* transport() const = 0;  // "loopback", "mpi"
  // Ranks in this process.
  virtual int local_ranks() const = 0;
  // Collective: every rank opens the same channels in the same order with the same capacity.
  virtual Expected<std::unique_ptr<Channel>> open_channel(size_t capacity, std::string name) = 0;
  // Collective. Null, on every rank, where the ranks do not share memory; that is no error.
  virtual Expected<std::unique_ptr<Crew>> open_crew(size_t bytes, std::string name) = 0;
  virtual Status barrier() = 0;
  // Told before each exchange; used in diagnoses ("rank 3 stopped answering in layer 5, dispatch,
  // step 17").
  virtual void set_progress(const Progress& progress) = 0;
  // The error that ended the run, if it was aborted.
  virtual Status check() = 0;
  // Ends the run on all ranks: every wait of every rank fails with this error from now on.
  virtual void abort(const Error& error) = 0;
};

}  // namespace wingspan
