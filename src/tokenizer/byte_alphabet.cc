#include "tokenizer/byte_alphabet.h"

#include <array>

#include "tokenizer/utf8.h"

namespace wingspan {
namespace {

// Printable Latin-1 stands for itself; the other bytes, in order, for U+0100 and up.
bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

constexpr size_t kCharacters = 0x144;

std::array<int, kCharacters> make_table() {
  std::array<int, kCharacters> table{};
  table.fill(-1);
  size_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    table[stands_for_itself(byte) ? static_cast<size_t>(byte) : next++] = byte;
  }
  return table;
}

}  // namespace

std::optional<std::string> bytes_of_alphabet(std::string_view text) {
  static const auto table = make_table();
  std::string out;
  for (size_t at = 0; at < text.size(); at += utf8::length_at(text, at)) {
    const uint32_t c = utf8::code_point(text, at);
    if (c >= kCharacters || table[c] < 0) return std::nullopt;
    out += static_cast<char>(table[c]);
  }
  return out;
}

}  // namespace wingspan
