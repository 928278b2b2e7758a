// Bytes as a tokenizer.json; one that loads encodes and decodes a text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = wingspan::Tokenizer::parse(text, "f");
  if (!tokenizer) return 0;
  const auto ids = tokenizer->encode("Hello, <s> w\xC3\xB6rld 123\n  \xE4\xB8\xAD x", true);
  if (ids) (void)tokenizer->decode(*ids, false);
  return 0;
}
