#include <algorithm>
#include <set>

#include "tidy/rules.h"

namespace wingspan::tidy {
namespace {

std::string stem(const std::string& path) { return path.substr(0, path.find_last_of('.')); }

bool blank_or_comment(std::string_view code) { return code.find_first_not_of(' ') == code.npos; }

// Every directory under tests/ with tests is named in tests/CMakeLists.txt.
bool test_is_run(const SourceTree& tree, const SourceFile& file) {
  const SourceFile* cmake = tree.find("tests/CMakeLists.txt");
  if (cmake == nullptr) return false;
  const std::string module = file.module();
  return std::any_of(cmake->lines.begin(), cmake->lines.end(), [&](const std::string& line) {
    return line.starts_with("wingspan_tests(" + module + ")") ||
           line.starts_with("wingspan_tests(" + module + " ") ||
           line.starts_with("add_subdirectory(" + module + ")");
  });
}

}  // namespace

Findings check_header_guards(const SourceTree& tree) {
  Findings found;
  for (const SourceFile& file : tree.files) {
    if (!file.cpp || !file.header()) continue;
    const auto first = std::find_if_not(file.code.begin(), file.code.end(), blank_or_comment);
    if (first == file.code.end() || *first != "#pragma once") {
      found.push_back({file.path, 0, "does not begin with #pragma once"});
    } else if (first == file.code.begin()) {
      found.push_back({file.path, 0, "has no comment on top that says what it is for"});
    }
  }
  return found;
}

Findings check_dead_files(const SourceTree& tree) {
  // Headers under src that a file other than their own .cc includes. Tests count: a reference or a
  // fault-injecting twin lives for them.
  std::set<std::string> included;
  for (const SourceFile& file : tree.files) {
    if (!file.cpp) continue;
    for (const Include& include : includes(file)) {
      if (include.quoted && stem("src/" + include.name) != stem(file.path)) {
        included.insert("src/" + include.name);
      }
    }
  }
  Findings found;
  for (const SourceFile& file : tree.files) {
    if (!file.cpp) continue;
    const auto depth = std::count(file.path.begin(), file.path.end(), '/');
    if (file.under("src/") && depth != 2) {
      found.push_back({file.path, 0, "is not src/<module>/<file>: nothing compiles it"});
    } else if (file.under("src/") && file.header() && !included.contains(file.path)) {
      found.push_back({file.path, 0, "is included by nothing but its own .cc"});
    } else if (file.under("tests/") && file.path.ends_with("_test.cc") &&
               !test_is_run(tree, file)) {
      found.push_back({file.path, 0, "is in no test program of tests/CMakeLists.txt"});
    } else if ((file.under("bench/") && !file.under("bench/support/") && !file.header() &&
                !file.path.ends_with("_bench.cc")) ||
               (file.under("fuzz/") && !file.header() && !file.path.ends_with("_fuzz.cc"))) {
      found.push_back({file.path, 0, "has not the name by which its directory is built"});
    }
  }
  return found;
}

}  // namespace wingspan::tidy
