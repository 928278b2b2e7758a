// A server with a few routes, whose answers a test makes itself.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "serve/health.h"
#include "serve/http_answer.h"
#include "serve/http_server.h"
#include "support/raw_client.h"

namespace wingspan::test {

// A value that one thread sets and another waits for.
class Signal {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  bool wait(int count = 1, double timeout_s = 5) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::duration<double>(timeout_s),
                             [&] { return count_ >= count; });
  }
  int count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

struct Held {
  serve::HttpRequest request;
  std::shared_ptr<serve::Responder> responder;
  std::shared_ptr<Signal> gone;
};

// POST /echo answers the body, POST /hold waits for the test, GET /key needs a key, GET /deep/* is
// a family; /health and /live.
class TestServer {
 public:
  explicit TestServer(serve::HttpOptions options = {}) {
    options.port = 0;
    std::vector<serve::Route> routes = serve::health_routes([this] { return health(); });
    routes.push_back({"POST", "/echo", [](const auto& request, const auto& responder) {
                        serve::HttpResponse response;
                        response.content_type = "text/plain";
                        response.body = request.body;
                        responder->reply(std::move(response));
                      }});
    routes.push_back({"POST", "/hold", [this](const auto& request, const auto& responder) {
                        hold(request, responder);
                      }});
    routes.back().queues = true;
    routes.push_back({"GET", "/key", [](const auto& request, const auto& responder) {
                        serve::HttpResponse response;
                        response.body = Json{{"query", request.query}}.dump();
                        responder->reply(std::move(response));
                      }});
    routes.push_back({"GET", "/deep/*", [](const auto& request, const auto& responder) {
                        serve::HttpResponse response;
                        response.content_type = "text/plain";
                        response.body = request.path;
                        responder->reply(std::move(response));
                      }});
    routes.push_back({"POST", "/throw", [](const auto&, const auto&) {
                        throw std::runtime_error("the handler broke");
                      }});
    routes.push_back({"POST", "/forget", [](const auto&, const auto&) {}});
    serve::HttpHooks hooks;
    hooks.busy = [this] { return busy.load(); };
    hooks.log = [this](const serve::AccessRecord& record) {
      const std::lock_guard lock(mutex_);
      log_.push_back(record);
      changed_.notify_all();
    };
    auto started = serve::HttpServer::start(options, std::move(routes), std::move(hooks));
    EXPECT_TRUE(started) << started.error().message();
    if (started) server = *std::move(started);
  }
  ~TestServer() {
    held_.clear();
    server.reset();
  }

  RawClient client(int receive_bytes = 0) const { return RawClient(server->port(), receive_bytes); }
  // The next request of /hold.
  std::optional<Held> take(double timeout_s = 5) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::duration<double>(timeout_s),
                           [this] { return !held_.empty(); })) {
      return std::nullopt;
    }
    Held out = std::move(held_.front());
    held_.pop_front();
    return out;
  }
  // Waits for so many log lines.
  std::vector<serve::AccessRecord> log(size_t count, double timeout_s = 5) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::duration<double>(timeout_s),
                      [&] { return log_.size() >= count; });
    return log_;
  }
  void set_health(serve::Health health) {
    const std::lock_guard lock(mutex_);
    health_ = std::move(health);
  }
  // Whether `holds` becomes true in time.
  template <class Condition>
  bool eventually(const Condition& holds, double timeout_s = 5) {
    const int64_t end_ns = system_clock().now_ns() + static_cast<int64_t>(timeout_s * 1e9);
    while (!holds()) {
      if (system_clock().now_ns() > end_ns) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }

  std::unique_ptr<serve::HttpServer> server;
  std::atomic<bool> busy{false};

 private:
  serve::Health health() {
    const std::lock_guard lock(mutex_);
    return health_;
  }
  void hold(const serve::HttpRequest& request, std::shared_ptr<serve::Responder> responder) {
    auto gone = std::make_shared<Signal>();
    responder->on_gone([gone] { gone->set(); });
    const std::lock_guard lock(mutex_);
    held_.push_back({request, std::move(responder), std::move(gone)});
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Held> held_;
  std::vector<serve::AccessRecord> log_;
  serve::Health health_{true, ""};
};

}  // namespace wingspan::test
