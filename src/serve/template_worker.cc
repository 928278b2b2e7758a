#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/clock.h"
#include "serve/chat_templates.h"
#include "serve/template_worker_py.h"

namespace wingspan::serve {
namespace {

constexpr const char* kInstall = "install python3 and python3-jinja2 (Debian's names)";

}  // namespace

struct TemplateWorker::Process {
  pid_t pid = -1;
  int to = -1, from = -1;
  ~Process() {
    if (to >= 0) ::close(to);
    if (from >= 0) ::close(from);
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }

  // Moves `size` bytes before `end_ns`. False: time, a limit or a dead helper.
  bool move(int fd, char* data, size_t size, bool write, int64_t end_ns) const {
    while (size > 0) {
      const int64_t left = end_ns - system_clock().now_ns();
      if (left <= 0) return false;
      pollfd p{fd, static_cast<short>(write ? POLLOUT : POLLIN), 0};
      const int ready = ::poll(&p, 1, static_cast<int>(left / 1000000 + 1));
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) return false;
      const ssize_t n = write ? ::write(fd, data, size) : ::read(fd, data, size);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (n <= 0) return false;
      data += n;
      size -= static_cast<size_t>(n);
    }
    return true;
  }

  bool send(const std::string& text, int64_t end_ns) const {
    const auto n = static_cast<uint32_t>(text.size());
    std::string message;
    for (int shift = 24; shift >= 0; shift -= 8) message += static_cast<char>(n >> shift & 0xFF);
    message += text;
    return move(to, message.data(), message.size(), true, end_ns);
  }

  std::optional<std::string> receive(int64_t limit, int64_t end_ns) const {
    unsigned char head[4];
    if (!move(from, reinterpret_cast<char*>(head), 4, false, end_ns)) return std::nullopt;
    uint32_t n = 0;
    for (const unsigned char c : head) n = n << 8 | c;
    if (static_cast<int64_t>(n) > limit) return std::nullopt;
    std::string text(n, '\0');
    if (!move(from, text.data(), n, false, end_ns)) return std::nullopt;
    return text;
  }
};

TemplateWorker::TemplateWorker(TemplateLimits limits) : limits_(std::move(limits)) {}
TemplateWorker::~TemplateWorker() = default;

Status TemplateWorker::start() {
  Status status;
  for (const std::string& python : limits_.pythons) {
    status = start(python);
    if (status) return status;
  }
  return status;
}

Status TemplateWorker::start(std::string python) {
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) != 0) return failed("no pipe for the template helper");
  if (::pipe2(out, O_CLOEXEC) != 0) {
    ::close(in[0]);
    ::close(in[1]);
    return failed("no pipe for the template helper");
  }
  auto process = std::make_unique<Process>();
  process->to = in[1];
  process->from = out[0];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  std::string isolated = "-I", command = "-c", script = kTemplateWorkerPy,
              memory = std::to_string(limits_.memory_bytes);
  std::string locale = "LC_ALL=C.UTF-8";
  char* environment[] = {locale.data(), nullptr};
  char* argv[] = {python.data(), isolated.data(), command.data(),
                  script.data(), memory.data(),   nullptr};
  const int failed_to =
      ::posix_spawnp(&process->pid, python.c_str(), &actions, nullptr, argv, environment);
  posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  if (failed_to != 0) {
    process->pid = -1;
    return failed(fmt::format("chat templates need {}: {}", python, std::strerror(failed_to)),
                  "chat template", kInstall);
  }
  ::fcntl(process->to, F_SETFL, O_NONBLOCK);
  const auto hello = process->receive(1 << 16, system_clock().now_ns() + int64_t{20} * 1000000000);
  const Json ready = hello ? Json::parse(*hello, nullptr, false) : Json();
  if (!ready.is_object() || !ready.value("ready", false)) {
    const std::string why =
        ready.is_object() ? ready.value("error", "") : "the helper did not start";
    return failed("chat templates need Jinja2: " + why, "chat template", kInstall);
  }
  process_ = std::move(process);
  return {};
}

Expected<Json> TemplateWorker::ask(const OrderedJson& request) {
  const std::string text = request.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  if (static_cast<int64_t>(text.size()) > limits_.max_text_bytes) {
    return invalid_input("the messages are too long", "chat template", "shorten them");
  }
  const std::lock_guard lock(mutex_);
  if (!process_) WS_RETURN_IF_ERROR(start());
  const int64_t end = system_clock().now_ns() + static_cast<int64_t>(limits_.seconds * 1e9);
  std::optional<std::string> answer;
  if (process_->send(text, end)) answer = process_->receive(limits_.max_text_bytes, end);
  Json json = answer ? Json::parse(*answer, nullptr, false) : Json();
  if (json.is_object()) return json;
  process_.reset();  // the next request starts another
  return failed(fmt::format("the chat template did not end within {:g} s and its limits of memory "
                            "and text",
                            limits_.seconds),
                "chat template", "check the template");
}

}  // namespace wingspan::serve
