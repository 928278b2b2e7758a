// Splits an answer into reasoning and content where a family writes the former between <think> and
// </think>. Works on text as it comes, and holds back what may be the beginning of a mark.
#pragma once

#include <string>
#include <string_view>

namespace wingspan::serve {

struct SplitText {
  std::string reasoning, content;
};

class ReasoningSplitter {
 public:
  // `inside`: the prompt has opened the reasoning already.
  explicit ReasoningSplitter(bool inside) : stage_(inside ? Stage::kInside : Stage::kStart) {}
  SplitText push(std::string_view text);
  SplitText finish();

  // Whether a prompt ends with an opening mark, spaces aside.
  static bool opens(std::string_view prompt);

 private:
  enum class Stage { kStart, kInside, kContent };
  void run(bool last, SplitText& out);
  Stage stage_;
  std::string held_;
};

}  // namespace wingspan::serve
