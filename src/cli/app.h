// The program: parses the command line, runs the chosen command, turns its outcome into the exit
// code and the one error line.
#pragma once

namespace wingspan {

// 0 done, 1 the work failed, 2 bad usage or bad input.
int run_app(int argc, const char* const* argv);

}  // namespace wingspan
