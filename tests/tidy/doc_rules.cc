#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "tidy/rules.h"

namespace wingspan::tidy {
namespace {

// `text` between backticks, one line at a time, outside code blocks.
std::vector<std::string> quoted_words(const std::string& line) {
  std::vector<std::string> words;
  if (line.starts_with("    ")) return words;
  for (size_t at = line.find('`'); at != std::string::npos; at = line.find('`', at)) {
    const size_t end = line.find('`', at + 1);
    if (end == std::string::npos) break;
    words.push_back(line.substr(at + 1, end - at - 1));
    at = end + 1;
  }
  return words;
}

// A file or directory of the tree. Placeholders and patterns name no file; goldens, models and
// build outputs are not in the tree.
bool dangling(const SourceTree& tree, const std::string& word) {
  static constexpr std::array<std::string_view, 6> kRoots = {"src/",     "tests/", "docs/",
                                                             "scripts/", "fuzz/",  "bench/"};
  const bool path = std::any_of(kRoots.begin(), kRoots.end(),
                                [&](std::string_view root) { return word.starts_with(root); });
  if (!path || word.find_first_of("<*{ ") != std::string::npos) return false;
  if (word.starts_with("tests/goldens")) return false;
  return std::none_of(tree.files.begin(), tree.files.end(), [&](const SourceFile& file) {
    return file.path == word || file.under(word.ends_with('/') ? word : word + "/");
  });
}

// "Suite.Name" of every TEST, TEST_F, TEST_P, and every suite by itself.
std::set<std::string> test_names(const SourceTree& tree) {
  std::set<std::string> names;
  for (const SourceFile& file : tree.files) {
    if (!file.under("tests/") || !file.cpp) continue;
    for (const std::string& line : file.code) {
      if (!line.starts_with("TEST")) continue;
      const size_t open = line.find('('), comma = line.find(", "), close = line.find(')');
      if (open == line.npos || comma == line.npos || close == line.npos) continue;
      names.insert(line.substr(open + 1, comma - open - 1) + "." +
                   line.substr(comma + 2, close - comma - 2));
    }
  }
  return names;
}

// Two words in CamelCase with a dot between them: the form of a test's name.
bool looks_like_test(const std::string& word) {
  const size_t dot = word.find('.');
  if (dot == std::string::npos || dot == 0 || dot + 2 >= word.size()) return false;
  const auto upper = [](char c) { return std::isupper(static_cast<unsigned char>(c)) != 0; };
  const auto letters = [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.';
  };
  return upper(word[0]) && upper(word[dot + 1]) &&
         std::islower(static_cast<unsigned char>(word[dot + 2])) != 0 &&
         std::all_of(word.begin(), word.end(), letters);
}

}  // namespace

Findings check_doc_references(const SourceTree& tree) {
  const std::set<std::string> tests = test_names(tree);
  Findings found;
  for (const SourceFile& page : tree.files) {
    if (!page.path.ends_with(".md")) continue;
    for (size_t i = 0; i < page.lines.size(); ++i) {
      for (const std::string& word : quoted_words(page.lines[i])) {
        const bool no_test = looks_like_test(word) && !tests.contains(word);
        if (!no_test && !dangling(tree, word)) continue;
        found.push_back({page.path, static_cast<int>(i) + 1,
                         "names `" + word + "`, which is not " + (no_test ? "a test" : "there")});
      }
    }
  }
  return found;
}

}  // namespace wingspan::tidy
