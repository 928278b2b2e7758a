#include "support/paths.h"

#include <cstdlib>
#include <filesystem>
#include <vector>

namespace wingspan::test {
namespace {

struct Temporaries {
  std::vector<std::string> paths;
  ~Temporaries() {
    std::error_code ignored;
    for (const auto& p : paths) std::filesystem::remove_all(p, ignored);
  }
};

}  // namespace

std::string source_path(const std::string& relative) {
  return std::string(WINGSPAN_SOURCE_DIR) + "/" + relative;
}

std::string golden_path(const std::string& relative) {
  return source_path("tests/goldens/" + relative);
}

std::string temporary_directory() {
  static Temporaries made;
  std::string pattern = (std::filesystem::temp_directory_path() / "wingspan-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) std::abort();
  made.paths.push_back(pattern);
  return pattern;
}

}  // namespace wingspan::test
