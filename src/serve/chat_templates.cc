#include "serve/chat_templates.h"

#include <fmt/format.h>

#include <algorithm>

namespace wingspan::serve {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{16} << 20;

// "chat_template": a string, or named ones of which "default" counts.
std::string template_of(const Json& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return "";
  for (const Json& item : *found) {
    if (item.is_object() && item.value("name", Json()) == "default") {
      return item.value("template", "");
    }
  }
  return "";
}

// Special tokens as the template sees them: "bos_token": "<s>" or {"content": "<s>"}.
OrderedJson special_tokens(const Json& config) {
  OrderedJson out = OrderedJson::object();
  for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                          "cls_token", "mask_token"}) {
    const auto found = config.find(key);
    if (found == config.end()) continue;
    if (found->is_string()) out[key] = found->get<std::string>();
    if (found->is_object() && found->contains("content")) {
      out[key] = found->value("content", "");
    }
  }
  return out;
}

std::string joined(const OrderedJson& parts) {
  std::string text;
  for (const OrderedJson& part : parts)
    text += (text.empty() ? "" : "\n") + part["text"].get<std::string>();
  return text;
}

// Contents in the form that the template asks for.
OrderedJson in_form(const OrderedJson& messages, bool parts) {
  OrderedJson out = messages;
  for (OrderedJson& message : out) {
    const auto content = message.find("content");
    if (content == message.end() || content->is_null()) continue;
    if (content->is_array() && !parts) *content = joined(*content);
    if (content->is_string() && parts) {
      *content = OrderedJson::array({{{"type", "text"}, {"text", *content}}});
    }
  }
  return out;
}

// Every text that a client wrote, in the order of the messages.
std::vector<std::string> texts_of(const OrderedJson& messages) {
  std::vector<std::string> out;
  for (const OrderedJson& message : messages) {
    const auto content = message.find("content");
    if (content == message.end()) continue;
    if (content->is_string()) out.push_back(content->get<std::string>());
    if (!content->is_array()) continue;
    for (const OrderedJson& part : *content) out.push_back(part["text"].get<std::string>());
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// Where the clients' texts stand in the rendered one: in order, whole or trimmed. A text that the
// template changed otherwise is not found, and what looks like a mark in it counts as one.
std::vector<TextRange> find_texts(const std::string& rendered, const OrderedJson& messages) {
  std::vector<TextRange> out;
  size_t from = 0;
  for (const std::string& text : texts_of(messages)) {
    for (const std::string_view form : {std::string_view(text), trimmed(text)}) {
      if (form.empty()) continue;
      const size_t at = rendered.find(form, from);
      if (at == std::string::npos) continue;
      out.push_back({at, at + form.size()});
      from = at + form.size();
      break;
    }
  }
  return out;
}

}  // namespace

Expected<ChatTemplate> ChatTemplate::load(const Files& files, const std::string& directory,
                                          const std::string& file) {
  ChatTemplate out;
  const std::string config_path = directory + "/tokenizer_config.json";
  Json config = Json::object();
  if (files.exists(config_path)) {
    WS_ASSIGN(std::string text, files.read_text(config_path, kMaxBytes));
    WS_ASSIGN(config, parse_json(text, config_path, {.max_bytes = kMaxBytes}));
    if (!config.is_object()) return invalid_input("must be a JSON object", config_path);
  }
  out.variables_ = special_tokens(config);
  const std::string beside = directory + "/chat_template.jinja";
  if (!file.empty()) {
    WS_ASSIGN(out.source_, files.read_text(file, kMaxBytes));
  } else if (files.exists(beside)) {
    WS_ASSIGN(out.source_, files.read_text(beside, kMaxBytes));
  } else {
    out.source_ = template_of(config);
  }
  return out;
}

Expected<bool> ChatTemplate::wants_parts(TemplateWorker& worker) const {
  const std::lock_guard lock(*mutex_);
  if (parts_->has_value()) return **parts_;
  WS_ASSIGN(const Json answer, worker.ask({{"template", source_}, {"inspect", true}}));
  if (answer.contains("error")) {
    return invalid_input(answer["error"].get<std::string>(), "chat template",
                         "check the model's template, or give another with --chat-template");
  }
  *parts_ = answer.value("parts", false);
  return **parts_;
}

Expected<ChatTemplate::Rendered> ChatTemplate::render(TemplateWorker& worker,
                                                      const OrderedJson& messages,
                                                      const OrderedJson& kwargs,
                                                      bool add_generation_prompt,
                                                      bool continue_final_message) const {
  if (empty()) {
    return invalid_input("the model has no chat template", "chat template",
                         "use /v1/completions, or start the server with --chat-template FILE");
  }
  WS_ASSIGN(const bool parts, wants_parts(worker));
  const OrderedJson given = in_form(messages, parts);
  OrderedJson variables = variables_;
  // As transformers: known names are there, also when they say nothing.
  variables["tools"] = nullptr;
  variables["documents"] = nullptr;
  variables.update(kwargs);
  variables["messages"] = given;
  variables["add_generation_prompt"] = add_generation_prompt;
  WS_ASSIGN(const Json answer, worker.ask({{"template", source_}, {"kwargs", variables}}));
  if (answer.contains("error")) {
    return invalid_input(answer["error"].get<std::string>(), "chat template", "");
  }
  Rendered out;
  out.text = answer.value("text", "");
  if (continue_final_message && !given.empty()) {
    // What the template puts behind the last message is left out.
    const auto texts = texts_of(OrderedJson::array({given.back()}));
    const std::string_view last = texts.empty() ? std::string_view() : trimmed(texts.back());
    const size_t at = last.empty() ? std::string::npos : out.text.rfind(last);
    if (at == std::string::npos) {
      return invalid_input("the final message is not in the rendered text", "messages",
                           "leave continue_final_message out");
    }
    out.text.resize(at + last.size());
  }
  out.user = find_texts(out.text, given);
  return out;
}

Expected<std::vector<int32_t>> ChatTemplate::encode(const TextModel& model,
                                                    const Rendered& rendered) {
  if (!model.has_tokenizer()) {
    return invalid_input("the model has no tokenizer.json", "messages", "use token ids");
  }
  // The template has written its special tokens itself, so none is added.
  return model.tokenizer().encode(rendered.text, false, rendered.user);
}

}  // namespace wingspan::serve
