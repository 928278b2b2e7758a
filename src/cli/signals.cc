#include "cli/signals.h"

#include <atomic>
#include <csignal>
#include <cstdlib>

namespace wingspan {
namespace {

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGUSR1);  // ends the watching thread
  return set;
}

}  // namespace

SignalWatch::SignalWatch(std::function<void()> first) : first_(std::move(first)) {
  const sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { watch(); });
}

SignalWatch::~SignalWatch() {
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

void SignalWatch::watch() {
  const sigset_t set = ending_signals();
  std::thread draining;
  for (;;) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    if (signal == SIGUSR1) break;
    if (draining.joinable()) std::_Exit(130);
    draining = std::thread(first_);
  }
  if (draining.joinable()) draining.join();
}

}  // namespace wingspan
