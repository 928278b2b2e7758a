#include "serve/token_text.h"

#include <fmt/format.h>

#include <cmath>

#include "tokenizer/utf8.h"

namespace wingspan::serve {
namespace {

std::string bytes_of(const Tokenizer* tokenizer, int32_t token) {
  return tokenizer == nullptr ? "" : tokenizer->token_bytes(token);
}

}  // namespace

std::string token_text(const Tokenizer* tokenizer, int32_t token, bool as_id) {
  if (as_id || tokenizer == nullptr) return fmt::format("token_id:{}", token);
  std::string bytes = bytes_of(tokenizer, token);
  if (utf8::find_invalid(bytes) == std::string_view::npos) return bytes;
  std::string out = "bytes:";
  for (const char c : bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return out;
}

int64_t text_length(const std::string& text) {
  int64_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

OrderedJson logprob_json(float logprob) {
  return std::isfinite(logprob) ? static_cast<double>(logprob) : -9999.0;
}

OrderedJson chat_logprob(const Tokenizer* tokenizer, int32_t token, float logprob, bool as_id) {
  OrderedJson bytes = OrderedJson::array();
  for (const char c : bytes_of(tokenizer, token)) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", token_text(tokenizer, token, as_id)},
          {"logprob", logprob_json(logprob)},
          {"bytes", bytes}};
}

}  // namespace wingspan::serve
