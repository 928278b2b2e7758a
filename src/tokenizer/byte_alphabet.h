// GPT-2's alphabet of 256 visible characters for bytes, in which byte-level vocabularies are
// written.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace wingspan {

// "Ġthe" -> " the"; nothing if a character is not of the alphabet.
std::optional<std::string> bytes_of_alphabet(std::string_view text);

}  // namespace wingspan
