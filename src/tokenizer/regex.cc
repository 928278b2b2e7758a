#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <new>

namespace wingspan {
namespace {

constexpr size_t kMaxPattern = 1 << 16;
constexpr size_t kStackStart = size_t{32} << 10, kStackLimit = size_t{64} << 20;

// PCRE2's \s takes U+180E, Unicode's White_Space (and Oniguruma) does not.
constexpr const char* kSpaces =
    "\\t-\\r\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";

std::string spell_out_spaces(const std::string& pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's') {
        out += in_class ? kSpaces : std::string("[") + kSpaces + "]";
      } else if (next == 'S' && !in_class) {
        out += std::string("[^") + kSpaces + "]";
      } else {
        out += {c, next};
      }
      continue;
    }
    if (c == '[' && !in_class) {
      in_class = true;
      out += c;
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      continue;
    }
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

pcre2_code* code_of(const std::shared_ptr<void>& p) { return static_cast<pcre2_code*>(p.get()); }

}  // namespace

Expected<Regex> Regex::compile(const std::string& pattern, const std::string& where) {
  if (pattern.size() > kMaxPattern) return invalid_input("the pattern is too long", where);
  const std::string text = spell_out_spaces(pattern);
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &at, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR message[200];
    pcre2_get_error_message(error, message, sizeof message);
    return invalid_input(
        "the pattern does not compile: " + std::string(reinterpret_cast<const char*>(message)),
        where);
  }
  Regex regex;
  regex.code_ = {code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); }};
  // Without JIT the same call interprets.
  (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return regex;
}

Expected<Regex> Regex::literal(const std::string& text, const std::string& where) {
  if (text.find("\\E") != std::string::npos) return invalid_input("\\E in a literal", where);
  return compile("\\Q" + text + "\\E", where);
}

RegexScratch::RegexScratch() {
  auto* match = pcre2_match_data_create(1, nullptr);
  auto* context = pcre2_match_context_create(nullptr);
  auto* stack = pcre2_jit_stack_create(kStackStart, kStackLimit, nullptr);
  if (match == nullptr || context == nullptr || stack == nullptr) throw std::bad_alloc();
  match_ = {match, [](void* p) { pcre2_match_data_free(static_cast<pcre2_match_data*>(p)); }};
  context_ = {context,
              [](void* p) { pcre2_match_context_free(static_cast<pcre2_match_context*>(p)); }};
  stack_ = {stack, [](void* p) { pcre2_jit_stack_free(static_cast<pcre2_jit_stack*>(p)); }};
  pcre2_jit_stack_assign(context, nullptr, stack);
  pcre2_set_match_limit(context, UINT32_MAX);
}

std::optional<std::pair<size_t, size_t>> RegexScratch::find(const Regex& regex,
                                                            std::string_view text, size_t from) {
  auto* match = static_cast<pcre2_match_data*>(match_.get());
  const int found = pcre2_match(code_of(regex.code_), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                text.size(), from, PCRE2_NO_UTF_CHECK, match,
                                static_cast<pcre2_match_context*>(context_.get()));
  if (found < 0) return std::nullopt;
  const PCRE2_SIZE* at = pcre2_get_ovector_pointer(match);
  return std::pair<size_t, size_t>{at[0], at[1]};
}

}  // namespace wingspan
