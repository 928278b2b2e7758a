#include "cli/prompts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "serve/chat_templates.h"

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

// Renders messages by the model's template; the template and its helper are started by the first.
class Chat {
 public:
  explicit Chat(const TextModel& model) : model_(model) {}

  Status fill(const OrderedJson& messages, Prompt& prompt) {
    if (!template_) {
      WS_ASSIGN(template_, serve::ChatTemplate::load(real_files(), model_.directory(), ""));
      worker_ = std::make_unique<serve::TemplateWorker>(serve::TemplateLimits{});
    }
    auto rendered = template_->render(*worker_, messages, OrderedJson::object(), true, false);
    if (!rendered) return bad(rendered.error(), prompt);
    auto ids = serve::ChatTemplate::encode(model_, *rendered);
    if (!ids) return bad(ids.error(), prompt);
    if (ids->empty()) return invalid_input("the rendered prompt is empty", prompt.where);
    prompt.text = std::move(rendered->text);
    prompt.ids = *std::move(ids);
    return {};
  }
  Status fill(const std::string& text, Prompt& prompt) {
    return fill(OrderedJson::array({{{"role", "user"}, {"content", text}}}), prompt);
  }

 private:
  static Unexpected bad(const Error& error, const Prompt& prompt) {
    return Unexpected(
        Error{error.kind, error.what, fmt::format("{}, {}", prompt.where, error.where), error.fix});
  }
  const TextModel& model_;
  std::optional<serve::ChatTemplate> template_;
  std::unique_ptr<serve::TemplateWorker> worker_;
};

Status check_messages(const Json& messages, const std::string& where) {
  const auto good = [](const Json& message) {
    const bool role =
        message.is_object() && message.contains("role") && message["role"].is_string();
    return role && (!message.contains("content") || message["content"].is_null() ||
                    message["content"].is_string());
  };
  if (messages.is_array() && !messages.empty() &&
      std::all_of(messages.begin(), messages.end(), good)) {
    return {};
  }
  return invalid_input("\"messages\" must be a list of {\"role\", \"content\"} with texts", where,
                       "write them as for the chat API");
}

// `source` is the line's text: templates show keys in their order.
Status read_batch_prompt(const JsonObject& line, const std::string& source, const TextModel& model,
                         bool as_chat, Chat& chat, Prompt& prompt) {
  const bool text = line.has("prompt"), ids = line.has("prompt_ids"),
             messages = line.has("messages");
  if (static_cast<int>(text) + static_cast<int>(ids) + static_cast<int>(messages) != 1) {
    return invalid_input("a line needs one of \"prompt\", \"prompt_ids\" and \"messages\"",
                         prompt.where);
  }
  if (messages) {
    WS_RETURN_IF_ERROR(check_messages(line.json().at("messages"), prompt.where));
    return chat.fill(OrderedJson::parse(source)["messages"], prompt);
  }
  if (text) {
    WS_ASSIGN(prompt.text, line.string("prompt"));
    if (as_chat) return chat.fill(std::string(prompt.text), prompt);
    WS_ASSIGN(prompt.ids, model.encode(prompt.text, prompt.where));
    return {};
  }
  WS_ASSIGN(auto numbers, line.integers("prompt_ids", 0, INT32_MAX));
  prompt.ids.assign(numbers.begin(), numbers.end());
  return {};
}

Status read_batch_line(const std::string& text, const TextModel& model, bool as_chat, Chat& chat,
                       Prompt& prompt) {
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
  return read_batch_prompt(line, text, model, as_chat, chat, prompt);
}

Expected<std::vector<Prompt>> read_batch(const std::string& path, const TextModel& model,
                                         bool as_chat, Chat& chat) {
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
    WS_RETURN_IF_ERROR(read_batch_line(line, model, as_chat, chat, prompt));
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
  if (options.chat && !options.id_lists.empty()) {
    return invalid_input("token ids have no chat template", "--chat", "give texts or messages");
  }
  Chat chat(model);
  if (!options.batch.empty()) return read_batch(options.batch, model, options.chat, chat);
  std::vector<Prompt> prompts;
  const auto add_text = [&](std::string text, std::string where) -> Status {
    Prompt p;
    p.id = static_cast<int64_t>(prompts.size());
    p.where = std::move(where);
    p.text = std::move(text);
    if (options.chat) {
      WS_RETURN_IF_ERROR(chat.fill(std::string(p.text), p));
    } else {
      WS_ASSIGN(p.ids, model.encode(p.text, p.where));
    }
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
