// SIGTERM and SIGINT of a process that serves: they are blocked in every thread and taken by one
// that waits for them.
#pragma once

#include <functional>
#include <thread>

namespace wingspan {

class SignalWatch {
 public:
  // Before any other thread starts. `first` runs on the watching thread at the first signal; a
  // second one ends the process at once, with status 130.
  explicit SignalWatch(std::function<void()> first);
  ~SignalWatch();

 private:
  void watch();
  std::function<void()> first_;
  std::thread thread_;
};

}  // namespace wingspan
