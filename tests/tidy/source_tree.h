// The files of the project as the style rules see them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wingspan::tidy {

struct SourceFile {
  std::string path;                // from the repository root, with '/'
  std::vector<std::string> lines;  // as written
  std::vector<std::string> code;   // the same with comments and the inside of literals blanked
  bool cpp = false;                // .h or .cc

  bool under(std::string_view directory) const;  // "src/" or "src/base/"
  bool header() const;
  std::string module() const;  // "base" of src/base/x.h and of tests/base/x.cc; else ""
};

struct SourceTree {
  std::vector<SourceFile> files;
  const SourceFile* find(std::string_view path) const;
};

struct Finding {
  std::string path;
  int line = 0;  // from 1; 0: the whole file
  std::string what;
};
using Findings = std::vector<Finding>;

// A file made of text.
SourceFile make_file(std::string path, std::string_view text);
// C++ under src, tests, fuzz and bench, and the text files that ship beside it; build outputs,
// goldens and binary files are left out.
SourceTree read_tree(const std::string& root);

// A `#include` line, at the line's number from 1.
struct Include {
  int line = 0;
  std::string name;  // without quotes or brackets
  bool quoted = false;
};
std::vector<Include> includes(const SourceFile& file);

// A function's definition, from the first line of its signature to its closing brace.
struct FunctionSpan {
  int first = 0, last = 0;  // lines from 1
};
std::vector<FunctionSpan> functions(const SourceFile& file);

// Whether `word` stands in `line` with no letter, digit or underscore beside it.
bool has_word(std::string_view line, std::string_view word);

}  // namespace wingspan::tidy
