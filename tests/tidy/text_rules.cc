#include <array>
#include <cctype>

#include "tidy/rules.h"

namespace wingspan::tidy {
namespace {

// Code points, since a column is one character of UTF-8.
int columns(std::string_view line) {
  int n = 0;
  for (char c : line) n += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
  return n;
}

int line_number(size_t index) { return static_cast<int>(index) + 1; }

// "(#12)" right after the word.
bool names_issue(std::string_view rest) {
  return rest.starts_with("(#") && rest.size() > 2 &&
         std::isdigit(static_cast<unsigned char>(rest[2])) != 0;
}

}  // namespace

Findings check_columns(const SourceTree& tree) {
  Findings found;
  for (const SourceFile& file : tree.files) {
    if (!file.cpp) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      if (columns(line) > kMaxColumns) {
        found.push_back({file.path, line_number(i), std::to_string(columns(line)) + " columns"});
      }
      if (line.find('\t') != std::string::npos) {
        found.push_back({file.path, line_number(i), "a tab"});
      }
      if (line.ends_with(' ')) found.push_back({file.path, line_number(i), "space at the end"});
    }
  }
  return found;
}

Findings check_function_lengths(const SourceTree& tree) {
  Findings found;
  for (const SourceFile& file : tree.files) {
    if (!file.cpp) continue;
    const int limit = file.under("src/kernels/") ? kMaxKernelLines : kMaxFunctionLines;
    for (const FunctionSpan& f : functions(file)) {
      const int lines = f.last - f.first + 1;
      if (lines <= limit) continue;
      found.push_back({file.path, f.first, "a function of " + std::to_string(lines) + " lines"});
    }
  }
  return found;
}

Findings check_file_lengths(const SourceTree& tree) {
  Findings found;
  for (const SourceFile& file : tree.files) {
    const auto lines = static_cast<int>(file.lines.size());
    if (!file.cpp || lines <= kMaxFileLines) continue;
    found.push_back({file.path, 0, std::to_string(lines) + " lines"});
  }
  return found;
}

Findings check_open_ends(const SourceTree& tree) {
  // Put together here, so that this file does not break its own rule.
  static const std::array<std::string, 4> kWords = {
      std::string("TO") + "DO", std::string("FIX") + "ME", std::string("XX") + "X",
      std::string("HA") + "CK"};
  Findings found;
  for (const SourceFile& file : tree.files) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      for (const std::string& word : kWords) {
        if (!has_word(line, word) || names_issue(line.substr(line.find(word) + word.size())))
          continue;
        found.push_back({file.path, line_number(i), word + " without an issue's number"});
      }
    }
  }
  return found;
}

Findings check_environment(const SourceTree& tree) {
  Findings found;
  for (const SourceFile& file : tree.files) {
    if (!file.under("src/") || file.path == "src/base/env.cc") continue;
    for (size_t i = 0; i < file.code.size(); ++i) {
      for (std::string_view word : {"getenv", "secure_getenv", "setenv", "putenv", "environ"}) {
        if (!has_word(file.code[i], word)) continue;
        found.push_back({file.path, line_number(i), std::string(word) + " outside base/env.cc"});
      }
    }
  }
  return found;
}

namespace {

// A call of a function with this name, not of a member and not its declaration.
bool calls(std::string_view line, std::string_view name) {
  for (size_t at = line.find(name); at != std::string_view::npos; at = line.find(name, at + 1)) {
    const std::string_view before = line.substr(0, at), after = line.substr(at + name.size());
    if (!after.starts_with('(') && !after.starts_with(" (")) continue;
    // abort(error) ends a run; abort() would end the process.
    if ((name == "abort" || name == "terminate") && !after.starts_with("()")) continue;
    if (before.empty() || before.ends_with("std::")) return true;
    const char last = before.back();
    const bool word = std::isalnum(static_cast<unsigned char>(last)) != 0 || last == '_';
    if (word || last == '.' || before.ends_with("->")) continue;
    if (before.ends_with("::")) {  // ::exit is the library's, World::exit a member
      const char owner = before.size() > 2 ? before[before.size() - 3] : ' ';
      if (std::isalnum(static_cast<unsigned char>(owner)) != 0 || owner == '_') continue;
    }
    // `void abort(` declares one.
    const size_t end = before.find_last_not_of(' ');
    const bool declared = last == ' ' && end != std::string_view::npos &&
                          (std::isalnum(static_cast<unsigned char>(before[end])) != 0 ||
                           before[end] == '>' || before[end] == '&' || before[end] == '*');
    if (!declared || before.substr(0, end + 1).ends_with("return")) return true;
  }
  return false;
}

}  // namespace

Findings check_quiet_libraries(const SourceTree& tree) {
  static constexpr std::array<std::string_view, 15> kCalls = {
      "printf", "fprintf", "vprintf",    "vfprintf", "puts",  "fputs",     "putchar", "perror",
      "exit",   "_exit",   "quick_exit", "abort",    "print", "terminate", "println"};
  Findings found;
  for (const SourceFile& file : tree.files) {
    if (!file.under("src/") || file.under("src/cli/") || file.path == "src/base/check.cc") continue;
    for (size_t i = 0; i < file.code.size(); ++i) {
      const std::string& line = file.code[i];
      for (std::string_view name : kCalls) {
        if (!calls(line, name) && line.find("fmt::" + std::string(name) + "(") == line.npos)
          continue;
        found.push_back({file.path, line_number(i), "a library calls " + std::string(name) + "()"});
      }
      for (std::string_view name : {"std::cout", "std::cerr", "std::clog"}) {
        if (line.find(name) == std::string::npos) continue;
        found.push_back({file.path, line_number(i), "a library writes to " + std::string(name)});
      }
    }
  }
  return found;
}

Findings check_machine_paths(const SourceTree& tree) {
  Findings found;
  for (const SourceFile& file : tree.files) {
    // A test may name a directory for temporary files.
    if (file.under("tests/")) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      for (std::string_view word : {"/work/", "/tmp/", "/home/", "/root/"}) {
        const size_t at = file.lines[i].find(word);
        if (at == std::string::npos) continue;
        // "x/work/" is a relative path.
        if (at > 0 && (std::isalnum(static_cast<unsigned char>(file.lines[i][at - 1])) != 0 ||
                       file.lines[i][at - 1] == '}')) {
          continue;
        }
        found.push_back({file.path, line_number(i), "names " + std::string(word)});
      }
    }
  }
  return found;
}

}  // namespace wingspan::tidy
