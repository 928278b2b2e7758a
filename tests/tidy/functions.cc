// Finds function definitions by braces. It relies on the formatting of the project: a block's brace
// has a space before it (`) {`), an initializer's has not (`a{1}`), or follows '=', ',', '(' or
// `return`.
#include <algorithm>
#include <string>

#include "tidy/source_tree.h"

namespace wingspan::tidy {
namespace {

enum class Block { kScope, kFunction, kInner };  // kScope: namespace, type, extern "C"

bool starts_type(std::string_view head) {
  for (std::string_view word : {"class", "struct", "union", "enum"}) {
    if (head.starts_with(word) && head.size() > word.size() && head[word.size()] == ' ')
      return true;
  }
  return false;
}

// `template <...> struct X` -> `struct X`.
std::string_view after_template(std::string_view head) {
  while (head.starts_with("template")) {
    int depth = 0;
    size_t i = head.find('<');
    for (; i < head.size(); ++i) {
      depth += head[i] == '<' ? 1 : 0;
      if (head[i] == '>' && --depth == 0) break;
    }
    head.remove_prefix(std::min(i + 1, head.size()));
    head.remove_prefix(std::min(head.find_first_not_of(" \n"), head.size()));
  }
  return head;
}

bool is_initializer(std::string_view head, bool space_before) {
  if (!space_before) return !head.empty();
  const char last = head.empty() ? ' ' : head.back();
  return last == '=' || last == ',' || last == '(' || last == '{' || head.ends_with("return");
}

class Scanner {
 public:
  std::vector<FunctionSpan> run(const SourceFile& file) {
    bool continued = false;
    for (size_t i = 0; i < file.code.size(); ++i) {
      const std::string& line = file.code[i];
      const bool directive = continued || line.starts_with('#');
      continued = directive && line.ends_with('\\');
      if (!directive) scan_line(line, static_cast<int>(i) + 1);
    }
    return std::move(found_);
  }

 private:
  struct Open {
    Block block;
    int first;
    std::string head;  // to go on with after an initializer
  };

  void scan_line(const std::string& line, int number) {
    bool space = true;
    for (char c : line) {
      if (c == '{') {
        open(number, space);
      } else if (c == '}') {
        close(number);
      } else if (c == ';') {
        head_.clear();
      } else if (c != ' ' || (!head_.empty() && head_.back() != ' ')) {
        if (head_.empty()) first_ = number;
        head_ += c;
        drop_label();
      }
      space = c == ' ';
    }
    if (!head_.empty() && head_.back() != ' ') head_ += ' ';
  }

  // `public:` is no part of what follows it.
  void drop_label() {
    for (std::string_view label : {"public:", "private:", "protected:"}) {
      if (head_ == label) head_.clear();
    }
  }

  std::string_view trimmed_head() const {
    std::string_view head = head_;
    while (head.ends_with(' ')) head.remove_suffix(1);
    return head;
  }

  void open(int number, bool space) {
    const std::string_view head = trimmed_head();
    const bool in_scope = stack_.empty() || stack_.back().block == Block::kScope;
    if (head.empty()) first_ = number;
    Block block = Block::kInner;
    std::string kept;
    if (in_scope && is_initializer(head, space)) {
      kept = head_;
    } else if (in_scope) {
      const std::string_view body = after_template(head);
      const bool scope = starts_type(body) || has_word(body, "namespace") ||
                         body.starts_with("extern \"") || body.find('(') == body.npos;
      block = scope ? Block::kScope : Block::kFunction;
    }
    stack_.push_back({block, first_, std::move(kept)});
    head_.clear();
  }

  void close(int number) {
    if (stack_.empty()) return;
    const Open top = std::move(stack_.back());
    stack_.pop_back();
    if (top.block == Block::kFunction) found_.push_back({top.first, number});
    head_ = top.head;
    first_ = top.first;
  }

  std::vector<Open> stack_;
  std::vector<FunctionSpan> found_;
  std::string head_;  // code since the last ';', '{' or '}' of this level
  int first_ = 0;     // its first line
};

}  // namespace

std::vector<FunctionSpan> functions(const SourceFile& file) { return Scanner().run(file); }

}  // namespace wingspan::tidy
