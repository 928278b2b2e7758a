// Ranks as threads of this process; regions are plain shared memory, so nothing is copied on the
// way.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "comm/group.h"

namespace wingspan {

// The handles of all ranks of one group, [ranks]; each goes to its own thread.
std::vector<std::unique_ptr<Group>> make_loopback(int ranks, const GroupOptions& options = {});

// Runs `body` as `ranks` threads and joins them. The first error (by time) is returned; a rank that
// fails aborts the others. ranks == 1 runs on the calling thread.
Status run_loopback(int ranks, const GroupOptions& options,
                    const std::function<Status(Group&)>& body);

}  // namespace wingspan
