#include "tidy/source_tree.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace wingspan::tidy {
namespace {

bool word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// Blanks what is not code, keeping every position.
class Blanker {
 public:
  explicit Blanker(std::string_view text) : text_(text), out_(text) {}

  std::string run() {
    while (at_ < text_.size()) {
      if (starts("//")) {
        blank_to(std::min(text_.find('\n', at_), text_.size()));
      } else if (starts("/*")) {
        blank_past("*/", at_ + 2);
      } else if (starts("R\"") && (at_ == 0 || !word_char(text_[at_ - 1]))) {
        const size_t open = std::min(text_.find('(', at_), text_.size());
        const std::string close = ")" + std::string(text_.substr(at_ + 2, open - at_ - 2)) + "\"";
        blank_past(close, open);
      } else if (text_[at_] == '"') {
        literal('"');
      } else if (text_[at_] == '\'' && (at_ == 0 || !word_char(text_[at_ - 1]))) {
        literal('\'');  // not the separator of 1'000
      } else {
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  bool starts(std::string_view s) const { return text_.substr(at_, s.size()) == s; }

  void blank_to(size_t end) {
    for (; at_ < end; ++at_) {
      if (text_[at_] != '\n') out_[at_] = ' ';
    }
  }

  void blank_past(std::string_view close, size_t from) {
    const size_t end = text_.find(close, from);
    blank_to(end == std::string_view::npos ? text_.size() : end + close.size());
  }

  // Keeps the quotes: an empty literal is still an operand.
  void literal(char quote) {
    for (++at_; at_ < text_.size() && text_[at_] != quote && text_[at_] != '\n'; ++at_) {
      const bool escape = text_[at_] == '\\';
      out_[at_] = ' ';
      if (escape && at_ + 1 < text_.size() && text_[at_ + 1] != '\n') out_[++at_] = ' ';
    }
    if (at_ < text_.size()) ++at_;
  }

  std::string_view text_;
  std::string out_;
  size_t at_ = 0;
};

bool is_text(const std::filesystem::path& path) {
  static constexpr std::array<std::string_view, 10> kKinds = {
      ".h", ".cc", ".md", ".txt", ".sh", ".cmake", ".json", ".html", ".css", ".js"};
  const std::string kind = path.extension().string();
  const std::string name = path.filename().string();
  return std::find(kKinds.begin(), kKinds.end(), kind) != kKinds.end() || name == "Makefile" ||
         name == "run" || name == ".clang-tidy" || name == ".clang-format";
}

bool left_out(const std::string& relative) {
  static constexpr std::array<std::string_view, 4> kDirectories = {"build/", ".git/",
                                                                   "tests/goldens/", "models/"};
  return std::any_of(kDirectories.begin(), kDirectories.end(),
                     [&](std::string_view d) { return relative.starts_with(d); });
}

}  // namespace

bool SourceFile::under(std::string_view directory) const { return path.starts_with(directory); }

bool SourceFile::header() const { return path.ends_with(".h"); }

std::string SourceFile::module() const {
  const size_t first = path.find('/');
  const size_t second = first == std::string::npos ? first : path.find('/', first + 1);
  if (second == std::string::npos || !(under("src/") || under("tests/"))) return "";
  return path.substr(first + 1, second - first - 1);
}

const SourceFile* SourceTree::find(std::string_view path) const {
  const auto it = std::find_if(files.begin(), files.end(),
                               [&](const SourceFile& file) { return file.path == path; });
  return it == files.end() ? nullptr : &*it;
}

SourceFile make_file(std::string path, std::string_view text) {
  SourceFile file;
  file.path = std::move(path);
  file.cpp = file.path.ends_with(".h") || file.path.ends_with(".cc");
  file.lines = split_lines(text);
  if (file.cpp) file.code = split_lines(Blanker(text).run());
  return file;
}

SourceTree read_tree(const std::string& root) {
  namespace fs = std::filesystem;
  SourceTree tree;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::recursive_directory_iterator();
       ++it) {
    const std::string relative = fs::relative(it->path(), root).generic_string();
    if (it->is_directory() && left_out(relative + "/")) it.disable_recursion_pending();
    if (!it->is_regular_file() || left_out(relative) || !is_text(it->path())) continue;
    std::ifstream in(it->path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    tree.files.push_back(make_file(relative, text));
  }
  std::sort(tree.files.begin(), tree.files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return tree;
}

bool has_word(std::string_view line, std::string_view word) {
  for (size_t at = line.find(word); at != std::string_view::npos; at = line.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || !word_char(line[at - 1])) && (end == line.size() || !word_char(line[end]))) {
      return true;
    }
  }
  return false;
}

std::vector<Include> includes(const SourceFile& file) {
  std::vector<Include> found;
  for (size_t i = 0; i < file.code.size(); ++i) {
    // The blanked text tells a directive from one inside a literal or a comment.
    const std::string_view code = file.code[i];
    if (!code.starts_with("#include")) continue;
    const std::string& line = file.lines[i];
    const size_t open = line.find_first_of("<\"");
    if (open == std::string::npos) continue;
    const bool quoted = line[open] == '"';
    const size_t close = line.find(quoted ? '"' : '>', open + 1);
    if (close == std::string::npos) continue;
    found.push_back({static_cast<int>(i) + 1, line.substr(open + 1, close - open - 1), quoted});
  }
  return found;
}

}  // namespace wingspan::tidy
