#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace wingspan {

void check_failed(const char* file, int line, const char* condition, const std::string& values) {
  std::fprintf(stderr, "wingspan: invariant broken: %s at %s:%d %s\n", condition, file, line,
               values.c_str());
  std::abort();
}

}  // namespace wingspan
