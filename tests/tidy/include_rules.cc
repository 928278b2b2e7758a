#include <algorithm>
#include <map>
#include <set>

#include "tidy/rules.h"

namespace wingspan::tidy {
namespace {

constexpr std::string_view kMap = "docs/architecture.md";

std::string trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" `");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" `") - first + 1));
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(trim(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

using Table = std::map<std::string, std::set<std::string>>;

// The rows of the Markdown table that has this header; a first cell with commas is several rows.
Table read_table(const SourceTree& tree, std::string_view header) {
  Table table;
  const SourceFile* page = tree.find(kMap);
  if (page == nullptr) return table;
  const auto start = std::find(page->lines.begin(), page->lines.end(), header);
  for (auto line = start; line != page->lines.end() && line->starts_with('|'); ++line) {
    if (line == start || line->starts_with("|--")) continue;
    const auto cells = split(*line, '|');
    if (cells.size() < 4) continue;
    for (const std::string& name : split(cells[1], ',')) {
      for (const std::string& item : split(cells[2], ',')) table[name].insert(item);
    }
  }
  return table;
}

Finding no_table(std::string_view header) {
  return {std::string(kMap), 0, "has no table \"" + std::string(header) + "\""};
}

}  // namespace

Findings check_module_includes(const SourceTree& tree) {
  constexpr std::string_view kHeader = "| module | may include |";
  const Table table = read_table(tree, kHeader);
  if (table.empty()) return {no_table(kHeader)};
  Findings found;
  for (const SourceFile& file : tree.files) {
    if (!file.under("src/")) continue;
    const auto row = table.find(file.module());
    if (row == table.end()) {
      found.push_back({file.path, 0, "belongs to no module of the table in docs/architecture.md"});
      continue;
    }
    const std::set<std::string>& allowed = row->second;
    for (const Include& include : includes(file)) {
      if (!include.quoted) continue;
      const std::string module = include.name.substr(0, include.name.find('/'));
      const bool fits = module == file.module() || allowed.contains(module) ||
                        allowed.contains(include.name) ||
                        (allowed.contains("everything") && table.contains(module));
      if (!fits) {
        found.push_back({file.path, include.line,
                         "module " + file.module() + " may not include \"" + include.name + "\""});
      }
    }
  }
  return found;
}

Findings check_library_includes(const SourceTree& tree) {
  constexpr std::string_view kHeader = "| header | only in |";
  const Table table = read_table(tree, kHeader);
  if (table.empty()) return {no_table(kHeader)};
  Findings found;
  for (const SourceFile& file : tree.files) {
    if (!file.under("src/")) continue;
    for (const Include& include : includes(file)) {
      if (include.quoted) continue;
      // The standard library's own headers have neither a directory nor a suffix.
      if (include.name.find_first_of("./") == std::string::npos) continue;
      const auto row = std::find_if(table.begin(), table.end(), [&](const auto& entry) {
        return entry.first.ends_with('/') ? include.name.starts_with(entry.first)
                                          : include.name == entry.first;
      });
      const bool fits = row != table.end() && (row->second.contains("everything") ||
                                               row->second.contains(file.module()) ||
                                               row->second.contains(file.path.substr(4)));
      if (!fits)
        found.push_back({file.path, include.line, "may not include <" + include.name + ">"});
    }
  }
  return found;
}

}  // namespace wingspan::tidy
