// UTF-8 by code points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace wingspan::utf8 {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Length of the code point that starts at `at` of valid text.
inline size_t length_at(std::string_view text, size_t at) {
  const auto c = static_cast<unsigned char>(text[at]);
  return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}
// Where the code point before `end` > 0 of valid text begins.
inline size_t before(std::string_view text, size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U);
  return end;
}
// The code point at `at` of valid text.
uint32_t code_point(std::string_view text, size_t at);
std::string encode(uint32_t code_point);

// Offset of the first byte that does not belong to a valid sequence; npos if all do.
size_t find_invalid(std::string_view text);

// How the bytes at `at` continue.
struct Step {
  size_t bytes = 0;  // of a code point, or of a maximal invalid part
  bool valid = false;
  bool incomplete = false;  // the text ends inside what may become a code point
};
Step step(std::string_view text, size_t at);

// White_Space and word characters (letters, marks, digits, connectors) of Unicode.
bool is_space(uint32_t code_point);
bool is_word(uint32_t code_point);

}  // namespace wingspan::utf8
