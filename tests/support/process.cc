#include "support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

namespace wingspan::test {
namespace {

[[noreturn]] void become(const std::vector<std::string>& arguments, int out, int err,
                         long file_limit_bytes) {
  ::setpgid(0, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  if (file_limit_bytes > 0) {
    const rlimit limit{static_cast<rlim_t>(file_limit_bytes),
                       static_cast<rlim_t>(file_limit_bytes)};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_IGN);
  }
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

// False at the end of the stream.
bool read_some(int from, std::string& to) {
  char buffer[4096];
  const ssize_t n = ::read(from, buffer, sizeof buffer);
  if (n <= 0) return false;
  to.append(buffer, static_cast<size_t>(n));
  return true;
}

}  // namespace

Finished run_process(const std::vector<std::string>& arguments, int timeout_s,
                     long file_limit_bytes) {
  Finished result;
  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) return result;
  const pid_t child = ::fork();
  if (child == 0) become(arguments, out[1], err[1], file_limit_bytes);
  ::close(out[1]);
  ::close(err[1]);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_s);
  pollfd streams[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  std::string* texts[2] = {&result.out, &result.err};
  for (int open = 2; open > 0;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || ::poll(streams, 2, static_cast<int>(left.count())) == 0) {
      result.timed_out = true;
      ::kill(-child, SIGKILL);
      break;
    }
    for (int i = 0; i < 2; ++i) {
      if (streams[i].fd < 0 || streams[i].revents == 0) continue;
      if (read_some(streams[i].fd, *texts[i])) continue;
      streams[i].fd = -1;
      --open;
    }
  }
  ::close(out[0]);
  ::close(err[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

Finished run_wingspan(std::vector<std::string> arguments, int timeout_s, long file_limit_bytes) {
  arguments.insert(arguments.begin(), WINGSPAN_BINARY);
  return run_process(arguments, timeout_s, file_limit_bytes);
}

bool have_program(const std::string& name) {
  return run_process({"sh", "-c", "command -v " + name}).exit_code == 0;
}

}  // namespace wingspan::test
