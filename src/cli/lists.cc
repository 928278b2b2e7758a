#include "cli/lists.h"

#include <fmt/format.h>

#include <charconv>

namespace wingspan {

Expected<std::vector<int64_t>> parse_numbers(const std::string& text, const std::string& flag,
                                             int64_t low, int64_t high) {
  std::vector<int64_t> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int64_t value = 0;
    const auto [rest, error] = std::from_chars(text.data() + begin, text.data() + end, value);
    if (error != std::errc() || rest != text.data() + end || value < low || value > high) {
      return invalid_input(
          fmt::format("\"{}\" is no number from {} to {}",
                      text.substr(begin, std::min<size_t>(end - begin, 30)), low, high),
          flag, "write a list such as 2,4,8");
    }
    out.push_back(value);
    begin = end + 1;
  }
  return out;
}

}  // namespace wingspan
