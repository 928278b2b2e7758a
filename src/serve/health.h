// Whether the server can serve: the routes that load balancers and supervisors ask.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "serve/engine_port.h"
#include "serve/http_server.h"

namespace wingspan::serve {

struct Health {
  bool ready = false;
  std::string why;  // where it is not ready
};

// Ready while steps advance: the engine reports a step at least once a second, also without work,
// and a step is one of all ranks. Not ready before the first step, while draining, after a failure,
// and when the last step is older than `max_step_age_s`.
Health engine_health(const EnginePort::Snapshot& snapshot, int64_t now_ns, double max_step_age_s);

// GET /health: 200 while `health` says ready, else 503 with the reason. GET /live: 200 always.
std::vector<Route> health_routes(std::function<Health()> health);

}  // namespace wingspan::serve
