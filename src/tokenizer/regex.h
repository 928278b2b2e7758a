// Patterns of tokenizer.json (Oniguruma's syntax, the part in use) by PCRE2 with its JIT.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace wingspan {

// Immutable; used from several threads, each with its own RegexScratch.
class Regex {
 public:
  // Error (kInvalidInput): it does not compile; `where` names it.
  static Expected<Regex> compile(const std::string& pattern, const std::string& where);
  // A literal text.
  static Expected<Regex> literal(const std::string& text, const std::string& where);

 private:
  friend class RegexScratch;
  std::shared_ptr<void> code_;
};

// Memory of matching. One a thread and call.
class RegexScratch {
 public:
  RegexScratch();
  // The first match at or after `from` of valid UTF-8: [begin, end). A match that gave up on the
  // limits of PCRE2 counts as none.
  std::optional<std::pair<size_t, size_t>> find(const Regex& regex, std::string_view text,
                                                size_t from);

 private:
  std::shared_ptr<void> match_, context_, stack_;
};

}  // namespace wingspan
