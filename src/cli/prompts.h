// Prompts from the command line and from files, as token ids.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "tokenizer/text_model.h"

namespace wingspan {

struct PromptOptions {
  std::vector<std::string> texts;     // --prompt
  std::vector<std::string> id_lists;  // --prompt-ids, --ids
  std::string text_file;              // --prompt-file, --text-file
  std::string batch;                  // --batch: JSON lines
  bool chat = false;                  // --chat
};

struct Prompt {
  OrderedJson id;    // the line's "id", else its index
  std::string text;  // as given; empty with ids
  std::vector<int32_t> ids;
  std::optional<int64_t> max_tokens;
  std::optional<uint64_t> seed;
  std::string where;  // for errors: "--prompt 2", "batch.jsonl:3"
};

// Exactly one kind of source must be given. Errors (kInvalidInput) name option or file and line:
// none or several kinds, bad ids, empty or non-UTF-8 text, a line that is no object or has no
// prompt.
Expected<std::vector<Prompt>> read_prompts(const PromptOptions& options, const TextModel& model);

// "1,2,3" -> ids; spaces around numbers are fine. Whether they are in the vocabulary is checked
// later.
Expected<std::vector<int32_t>> parse_id_list(const std::string& text, const std::string& where);

}  // namespace wingspan
