#include "serve/http_server.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <set>
#include <thread>

#include "base/check.h"
#include "base/rng.h"
#include "serve/http_connection.h"

namespace wingspan::serve {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr int64_t kSurplusConnections = 64;  // beyond the limit, so that probes are answered
constexpr int64_t kOtherFiles = 256;         // that the process has open beside connections
constexpr auto kSweep = std::chrono::milliseconds(100);

// A socket option by number, for those that Asio doesn't name.
struct IntegerOption {
  int option_level, option_name, value;
  template <class Protocol>
  int level(const Protocol& /*protocol*/) const {
    return option_level;
  }
  template <class Protocol>
  int name(const Protocol& /*protocol*/) const {
    return option_name;
  }
  template <class Protocol>
  const int* data(const Protocol& /*protocol*/) const {
    return &value;
  }
  template <class Protocol>
  size_t size(const Protocol& /*protocol*/) const {
    return sizeof(value);
  }
};

// The number of connections for which the process may have files open.
int64_t raise_file_limit(int64_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  const auto needed = static_cast<rlim_t>(wanted + kSurplusConnections + kOtherFiles);
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = std::min<rlim_t>(needed, limit.rlim_max);
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
  }
  const auto open = static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, needed));
  return std::clamp<int64_t>(open - kSurplusConnections - kOtherFiles, 1, wanted);
}

bool matches(const Route& route, const std::string& path) {
  if (!route.path.ends_with("/*")) return route.path == path;
  const size_t prefix = route.path.size() - 1;
  return path.size() > prefix && path.compare(0, prefix, route.path, 0, prefix) == 0;
}

Expected<tcp::acceptor> listen_at(asio::io_context& io, const HttpOptions& options) {
  const std::string where = fmt::format("{}:{}", options.host, options.port);
  if (options.port < 0 || options.port > 65535) {
    return invalid_input("the port is not between 0 and 65535", where, "choose another --port");
  }
  error_code error;
  tcp::resolver resolver(io);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return invalid_input("no such host", options.host, "give an address of this machine as --host");
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(1024, error);
  if (error == asio::error::address_in_use) {
    return io_error("another program listens there", where,
                    "stop it or choose another --port; 0 takes a free one");
  }
  if (error) {
    return io_error("cannot listen: " + error.message(), where,
                    "choose an address of this machine and a port that you may use");
  }
  return acceptor;
}

Status check_routes(const std::vector<Route>& routes) {
  std::set<std::pair<std::string, std::string>> seen;
  for (const Route& route : routes) {
    WS_CHECK(route.handler && route.path.starts_with('/'), "{} {}", route.method, route.path);
    if (!seen.emplace(route.method, route.path).second) {
      return failed("two handlers for one route", route.method + " " + route.path);
    }
  }
  return {};
}

}  // namespace

std::string access_line(const AccessRecord& r) {
  const std::string_view outcome = r.complete   ? ""
                                   : r.overflow ? ", client read too slowly"
                                                : ", client left";
  return fmt::format("{} {} {} {} bytes {:.3f} s{}, {}, id {}", r.method.empty() ? "-" : r.method,
                     r.path.empty() ? "-" : r.path, r.status, r.sent_bytes, r.duration_s, outcome,
                     r.client, r.request_id);
}

bool ServerGate::post(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  if (io_ == nullptr) return false;
  asio::post(*io_, std::move(work));
  return true;
}

void ServerGate::close() {
  const std::lock_guard lock(mutex_);
  io_ = nullptr;
}

ServerCore::ServerCore(const HttpOptions& o, std::vector<Route> r, HttpHooks h)
    : options(o),
      routes(std::move(r)),
      hooks(std::move(h)),
      handlers(static_cast<size_t>(std::max(1, o.handler_threads))),
      gate(std::make_shared<ServerGate>(io)),
      rates(o.requests_per_s),
      connection_limit(raise_file_limit(o.max_connections)),
      id_seed(static_cast<uint64_t>(o.clock->now_ns())) {}

const Route* ServerCore::find_route(const std::string& method, const std::string& path) const {
  const std::string& wanted = method == "HEAD" ? "GET" : method;
  const Route* best = nullptr;
  for (const Route& route : routes) {
    if (route.method != wanted || !matches(route, path)) continue;
    if (best == nullptr || route.path.size() > best->path.size() || route.path == path) {
      best = &route;
    }
    if (route.path == path) break;
  }
  return best;
}

std::string ServerCore::allowed_methods(const std::string& path) const {
  std::set<std::string> methods;
  for (const Route& route : routes) {
    if (matches(route, path)) methods.insert(route.method);
  }
  if (methods.empty()) return "";
  if (methods.contains("GET")) methods.insert("HEAD");
  methods.insert("OPTIONS");
  return fmt::format("{}", fmt::join(methods, ", "));
}

std::string ServerCore::new_request_id() {
  const auto words = philox4x32(id_seed, next_id++);
  return fmt::format("req-{:08x}{:08x}", words[0], words[1]);
}

void ServerCore::add_answering(int64_t change) {
  const std::lock_guard lock(idle_mutex);
  answering += change;
  if (answering == 0) idle_changed.notify_all();
}

struct HttpServer::Impl {
  Impl(const HttpOptions& options, std::vector<Route> routes, HttpHooks hooks)
      : core(options, std::move(routes), std::move(hooks)),
        acceptor(core.io),
        sweep(core.io),
        retry(core.io) {}
  void accept();
  void admit(tcp::socket socket);
  void sweep_later();
  void end_connections();

  ServerCore core;
  tcp::acceptor acceptor;
  asio::steady_timer sweep, retry;
  int port = 0;
  std::thread thread;
};

void HttpServer::Impl::accept() {
  acceptor.async_accept([this](error_code error, tcp::socket socket) {
    if (!acceptor.is_open()) return;
    if (!error) {
      admit(std::move(socket));
    } else if (error == asio::error::no_descriptors || error == asio::error::no_memory ||
               error == asio::error::no_buffer_space) {
      // The connection stays in the kernel's queue; asking again at once would only burn time.
      retry.expires_after(std::chrono::milliseconds(100));
      retry.async_wait([this](error_code stopped) {
        if (!stopped) accept();
      });
      return;
    }
    accept();
  });
}

void HttpServer::Impl::admit(tcp::socket socket) {
  error_code error;
  const tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return;  // gone already
  const int64_t open = core.open_connections;
  if (open >= core.connection_limit + kSurplusConnections) {
    ++core.refused;
    return;
  }
  socket.non_blocking(true, error);
  if (error) return;
  // A vanished host, which sends neither an end nor a reset, is noticed after about a minute.
  socket.set_option(tcp::no_delay(true), error);
  socket.set_option(asio::socket_base::keep_alive(true), error);
  socket.set_option(IntegerOption{IPPROTO_TCP, TCP_KEEPIDLE, 30}, error);
  socket.set_option(IntegerOption{IPPROTO_TCP, TCP_KEEPINTVL, 10}, error);
  socket.set_option(IntegerOption{IPPROTO_TCP, TCP_KEEPCNT, 3}, error);
  if (core.options.kernel_send_bytes > 0) {
    socket.set_option(asio::socket_base::send_buffer_size(core.options.kernel_send_bytes), error);
  }
  auto connection = std::make_shared<Connection>(
      core, std::move(socket), peer.address().to_string(), open >= core.connection_limit);
  core.connections.insert(connection);
  connection->start();
}

void HttpServer::Impl::sweep_later() {
  sweep.expires_after(kSweep);
  sweep.async_wait([this](error_code error) {
    if (error) return;
    const int64_t now_ns = core.now_ns();
    // A connection that ends leaves the set.
    const std::vector<std::shared_ptr<Connection>> all(core.connections.begin(),
                                                       core.connections.end());
    for (const auto& connection : all) connection->check_deadline(now_ns);
    sweep_later();
  });
}

void HttpServer::Impl::end_connections() {
  const std::vector<std::shared_ptr<Connection>> all(core.connections.begin(),
                                                     core.connections.end());
  for (const auto& connection : all) connection->close();
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { stop(); }

Expected<std::unique_ptr<HttpServer>> HttpServer::start(const HttpOptions& options,
                                                        std::vector<Route> routes,
                                                        HttpHooks hooks) {
  WS_RETURN_IF_ERROR(check_routes(routes));
  auto impl = std::make_unique<Impl>(options, std::move(routes), std::move(hooks));
  WS_ASSIGN(impl->acceptor, listen_at(impl->core.io, options));
  error_code error;
  impl->port = impl->acceptor.local_endpoint(error).port();
  impl->accept();
  impl->sweep_later();
  impl->thread = std::thread([raw = impl.get()] { raw->core.io.run(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

int HttpServer::port() const { return impl_->port; }
int64_t HttpServer::connection_limit() const { return impl_->core.connection_limit; }

std::string HttpServer::url() const {
  const std::string& host = impl_->core.options.host;
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", impl_->port);
}

HttpCounters HttpServer::counters() const {
  const ServerCore& core = impl_->core;
  HttpCounters out;
  out.connections = core.open_connections;
  {
    const std::lock_guard lock(core.idle_mutex);
    out.answering = core.answering;
  }
  out.bodies_bytes = core.bodies_bytes;
  out.requests = core.requests;
  out.refused_connections = core.refused;
  out.clients_gone = core.gone;
  out.overflows = core.overflows;
  return out;
}

void HttpServer::post(std::function<void()> work) { impl_->core.gate->post(std::move(work)); }

void HttpServer::drain_begin() {
  impl_->core.draining = true;
  post([impl = impl_.get()] {
    for (const auto& connection : impl->core.connections) connection->drain();
  });
}

bool HttpServer::wait_idle(double timeout_s) {
  ServerCore& core = impl_->core;
  std::unique_lock lock(core.idle_mutex);
  return core.idle_changed.wait_for(lock, std::chrono::duration<double>(timeout_s),
                                    [&] { return core.answering == 0; });
}

void HttpServer::stop() {
  if (impl_ == nullptr || !impl_->thread.joinable()) return;
  post([impl = impl_.get()] {
    error_code error;
    impl->acceptor.close(error);
    impl->end_connections();
    impl->core.io.stop();
  });
  impl_->thread.join();
  impl_->core.gate->close();
  impl_->core.handlers.stop();
  impl_->core.handlers.join();
  // Handlers of events that were never run hold connections; they go with the context's queue.
  impl_->core.io.restart();
  error_code error;
  impl_->acceptor.close(error);
  impl_->sweep.cancel();
  impl_->retry.cancel();
  impl_->core.io.poll();
}

}  // namespace wingspan::serve
