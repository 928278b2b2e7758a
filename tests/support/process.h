// Runs a program and keeps what it says.
#pragma once

#include <string>
#include <vector>

namespace wingspan::test {

struct Finished {
  int exit_code = -1;  // 128 + signal if one ended it
  std::string out, err;
  bool timed_out = false;
};

// Killed after `timeout_s`. `file_limit_bytes` > 0: no file may grow beyond that (a full disk).
Finished run_process(const std::vector<std::string>& arguments, int timeout_s = 60,
                     long file_limit_bytes = 0);
// build/…/wingspan with these arguments.
Finished run_wingspan(std::vector<std::string> arguments, int timeout_s = 60,
                      long file_limit_bytes = 0);
// Whether a program of this name is in PATH.
bool have_program(const std::string& name);

}  // namespace wingspan::test
