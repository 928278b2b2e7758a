#include "comm/process_life.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace wingspan {

std::optional<ProcessLife> look_at_process(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  if (!std::getline(file, text)) {
    if (::access("/proc/self/stat", R_OK) != 0) return std::nullopt;
    return ProcessLife{true, false, 0};
  }
  // pid (name) state … ; the name may hold anything, so fields count from the last bracket.
  const size_t bracket = text.rfind(')');
  if (bracket == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(bracket + 1));
  std::string state, skipped;
  fields >> state;
  for (int i = 0; i < 10; ++i) fields >> skipped;
  int64_t user = 0, system = 0;
  fields >> user >> system;
  if (!fields) return std::nullopt;
  const int64_t tick_ms = 1000 / ::sysconf(_SC_CLK_TCK);
  return ProcessLife{state == "Z" || state == "X", state == "T" || state == "t",
                     (user + system) * tick_ms};
}

}  // namespace wingspan
