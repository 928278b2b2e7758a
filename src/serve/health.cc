#include "serve/health.h"

#include <fmt/format.h>

#include <utility>

#include "base/json.h"
#include "serve/http_answer.h"

namespace wingspan::serve {

Health engine_health(const EnginePort::Snapshot& snapshot, int64_t now_ns, double max_step_age_s) {
  if (snapshot.failed) return {false, "the engine has failed: " + snapshot.failure};
  if (snapshot.draining || snapshot.stopped) return {false, "the server is stopping"};
  if (snapshot.last_step_ns == 0) return {false, "the engine has made no step yet"};
  const double age_s = seconds(snapshot.last_step_ns, now_ns);
  if (age_s > max_step_age_s) {
    return {false,
            fmt::format("the last step was {:.1f} s ago, of at most {} s", age_s, max_step_age_s)};
  }
  return {true, ""};
}

std::vector<Route> health_routes(std::function<Health()> health) {
  const auto ok = [](Responder& responder) {
    HttpResponse response;
    response.body = Json{{"status", "ok"}}.dump();
    responder.reply(std::move(response));
  };
  Route ready{"GET", "/health", {}, true, true, false};
  ready.handler = [health = std::move(health), ok](const HttpRequest& /*request*/,
                                                   const std::shared_ptr<Responder>& responder) {
    const Health now = health();
    if (now.ready) return ok(*responder);
    responder->reply(error_answer(503, now.why));
  };
  Route live{"GET", "/live", {}, true, true, false};
  live.handler = [ok](const HttpRequest& /*request*/, const std::shared_ptr<Responder>& responder) {
    ok(*responder);
  };
  return {std::move(ready), std::move(live)};
}

}  // namespace wingspan::serve
