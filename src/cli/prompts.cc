#include "cli/prompts.h"

#include <fmt/format.h>

#include <charconv>

namespace wingspan {
namespace {

constexpr uint64_t kMaxBatchBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxTextBytes = uint64_t{1} << 28;

Status check_sources(const PromptOptions& o) {
  const int kinds = static_cast<int>(!o.texts.empty()) + static_cast<int>(!o.id_lists.empty()) +
                    static_cast<int>(!o.text_file.empty()) + static_cast<int>(!o.batch.empty());
  if (kinds == 1) return {};
  return invalid_input(kinds == 0 ? "no prompt is given" : "several kinds of prompt are given", "",
                       "give one of text, a text file, token ids or a batch file; see --help");
}

Unexpected no_chat(const std::string& where) {
  return invalid_input("chat templates are not supported yet", where,
                       "give the prompt as text that is already in the model's chat format");
}

Status read_batch_prompt(const JsonObject& line, const TextModel& model, Prompt& prompt) {
  const bool text = line.has("prompt"), ids = line.has("prompt_ids");
  if (line.has("messages")) return no_chat(prompt.where);
  if (text == ids) {
    return invalid_input("a line needs either \"prompt\" or \"prompt_ids\"", prompt.where);
  }
  if (text) {
    WS_ASSIGN(prompt.text, line.string("prompt"));
    WS_ASSIGN(prompt.ids, model.encode(prompt.text, prompt.where));
    return {};
  }
  WS_ASSIGN(auto numbers, line.integers("prompt_ids", 0, INT32_MAX));
  prompt.ids.assign(numbers.begin(), numbers.end());
  return {};
}

Status read_batch_line(const std::string& text, const TextModel& model, Prompt& prompt) {
  WS_ASSIGN(Json json, parse_json(text, prompt.where));
  WS_ASSIGN(JsonObject line, JsonObject::from(json, prompt.where));
  if (line.has("id")) {
    const Json& id = json.at("id");
    if (!id.is_string() && !id.is_number()) return line.bad("id", "must be a string or a number");
    prompt.id = id;
  }
  if (line.has("max_tokens")) {
    WS_ASSIGN(prompt.max_tokens, line.integer("max_tokens", 0, INT32_MAX));
  }
  if (line.has("seed")) {
    WS_ASSIGN(int64_t seed, line.integer("seed", 0, INT64_MAX));
    prompt.seed = static_cast<uint64_t>(seed);
  }
  return read_batch_prompt(line, model, prompt);
}

Expected<std::vector<Prompt>> read_batch(const std::string& path, const TextModel& model) {
  if (!real_files().exists(path)) {
    return invalid_input("no such file", path, "check --batch");
  }
  WS_ASSIGN(std::string text, real_files().read_text(path, kMaxBatchBytes));
  std::vector<Prompt> prompts;
  size_t begin = 0;
  for (int64_t number = 1; begin < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Prompt prompt;
    prompt.id = static_cast<int64_t>(prompts.size());
    prompt.where = fmt::format("{}:{}", path, number);
    WS_RETURN_IF_ERROR(read_batch_line(line, model, prompt));
    prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) return invalid_input("no prompt in the file", path);
  return prompts;
}

}  // namespace

Expected<std::vector<int32_t>> parse_id_list(const std::string& text, const std::string& where) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto skip_spaces = [&] {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t')) ++at;
  };
  for (;;) {
    skip_spaces();
    int32_t id = 0;
    const auto [rest, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0) {
      return invalid_input(fmt::format("no list of token ids: \"{:.40}\"", text), where,
                           "write ids as 1,2,3");
    }
    ids.push_back(id);
    at = rest;
    skip_spaces();
    if (at == end) return ids;
    if (*at++ != ',') {
      return invalid_input(fmt::format("no list of token ids: \"{:.40}\"", text), where,
                           "write ids as 1,2,3");
    }
  }
}

Expected<std::vector<Prompt>> read_prompts(const PromptOptions& options, const TextModel& model) {
  WS_RETURN_IF_ERROR(check_sources(options));
  if (options.chat) return no_chat("--chat");
  if (!options.batch.empty()) return read_batch(options.batch, model);
  std::vector<Prompt> prompts;
  const auto add_text = [&](std::string text, std::string where) -> Status {
    Prompt p;
    p.id = static_cast<int64_t>(prompts.size());
    p.where = std::move(where);
    p.text = std::move(text);
    WS_ASSIGN(p.ids, model.encode(p.text, p.where));
    prompts.push_back(std::move(p));
    return {};
  };
  if (!options.text_file.empty()) {
    WS_ASSIGN(std::string text, real_files().read_text(options.text_file, kMaxTextBytes));
    WS_RETURN_IF_ERROR(add_text(std::move(text), options.text_file));
  }
  for (const std::string& text : options.texts) {
    WS_RETURN_IF_ERROR(add_text(text, fmt::format("prompt {}", prompts.size())));
  }
  for (const std::string& list : options.id_lists) {
    Prompt p;
    p.id = static_cast<int64_t>(prompts.size());
    p.where = fmt::format("prompt {}", prompts.size());
    WS_ASSIGN(p.ids, parse_id_list(list, p.where));
    prompts.push_back(std::move(p));
  }
  return prompts;
}

}  // namespace wingspan
