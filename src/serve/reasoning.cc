#include "serve/reasoning.h"

#include <algorithm>

namespace wingspan::serve {
namespace {

constexpr std::string_view kOpen = "<think>", kClose = "</think>";
constexpr const char* kSpaces = " \t\r\n";

// The longest end of `text` that begins `mark`.
size_t overlap(std::string_view text, std::string_view mark) {
  for (size_t n = std::min(text.size(), mark.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == mark.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

bool ReasoningSplitter::opens(std::string_view prompt) {
  const size_t end = prompt.find_last_not_of(kSpaces);
  return end != std::string_view::npos && end + 1 >= kOpen.size() &&
         prompt.substr(end + 1 - kOpen.size(), kOpen.size()) == kOpen;
}

SplitText ReasoningSplitter::push(std::string_view text) {
  held_ += text;
  SplitText out;
  run(false, out);
  return out;
}

SplitText ReasoningSplitter::finish() {
  SplitText out;
  run(true, out);
  return out;
}

void ReasoningSplitter::run(bool last, SplitText& out) {
  if (stage_ == Stage::kStart) {
    // An answer that reasons begins with the mark; one that does not is content from the start.
    const size_t begin = std::min(held_.find_first_not_of(kSpaces), held_.size());
    const std::string_view rest = std::string_view(held_).substr(begin);
    if (rest.substr(0, kOpen.size()) == kOpen) {
      held_.erase(0, begin + kOpen.size());
      stage_ = Stage::kInside;
    } else if (last || rest != kOpen.substr(0, rest.size())) {
      stage_ = Stage::kContent;
    } else {
      return;
    }
  }
  if (stage_ == Stage::kInside) {
    const size_t close = held_.find(kClose);
    if (close == std::string::npos) {
      const size_t certain = held_.size() - (last ? 0 : overlap(held_, kClose));
      out.reasoning += held_.substr(0, certain);
      held_.erase(0, certain);
      return;
    }
    out.reasoning += held_.substr(0, close);
    held_.erase(0, close + kClose.size());
    stage_ = Stage::kContent;
  }
  out.content += held_;
  held_.clear();
}

}  // namespace wingspan::serve
