#include "serve/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace wingspan::serve {
namespace {

void reply_json(const std::shared_ptr<Responder>& reply, const OrderedJson& json) {
  HttpResponse response;
  response.body = json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  reply->reply(std::move(response));
}

void reply_error(const std::shared_ptr<Responder>& reply, const ApiError& error) {
  HttpResponse response;
  response.status = error.status;
  response.body = error_json(error);
  reply->reply(std::move(response));
}

ApiError from_error(const Error& error, std::string param) {
  return {error.kind == ErrorKind::kInvalidInput ? 400 : 500, error.message(), std::move(param),
          ""};
}

int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Api::Api(ApiOptions options, EnginePort& port, std::shared_ptr<const TextModel> text,
         ChatTemplate chat, AnswerObserver* observer, ReceiptMaker receipt)
    : options_(std::move(options)),
      port_(port),
      text_(std::move(text)),
      chat_(std::move(chat)),
      observer_(observer),
      receipt_(std::move(receipt)),
      worker_(TemplateLimits{}),
      thinks_(chat_.source().find("<think>") != std::string::npos) {}

std::vector<Route> Api::routes() {
  const auto get = [](const char* path, std::function<OrderedJson()> make, bool open = false) {
    return Route{"GET",
                 path,
                 [make = std::move(make)](const HttpRequest&, const Reply& reply) {
                   reply_json(reply, make());
                 },
                 true,
                 open,
                 false};
  };
  const auto post = [this](const char* path, auto handler, bool queues) {
    return Route{"POST",
                 path,
                 [this, handler](const HttpRequest& http, const Reply& reply) {
                   (this->*handler)(http, reply);
                 },
                 false,
                 false,
                 queues};
  };
  return {post("/v1/completions", &Api::completions, true),
          post("/v1/chat/completions", &Api::chat, true),
          post("/tokenize", &Api::tokenize, false),
          post("/detokenize", &Api::detokenize, false),
          get("/v1/models", [this] { return models(); }),
          get("/tokenizer_info", [this] { return tokenizer_info(); }),
          get("/server_info", [this] { return options_.server_info; }),
          get(
              "/version",
              [this] {
                return OrderedJson{{"version", options_.version}};
              },
              true)};
}

OrderedJson Api::models() const {
  OrderedJson data = OrderedJson::array();
  for (const std::string& name : options_.names) {
    data.push_back({{"id", name},
                    {"object", "model"},
                    {"created", options_.created_s},
                    {"owned_by", "wingspan"},
                    {"root", options_.root},
                    {"parent", nullptr},
                    {"max_model_len", options_.limits.max_positions}});
  }
  return {{"object", "list"}, {"data", data}};
}

OrderedJson Api::tokenizer_info() const {
  OrderedJson info = {
      {"tokenizer_class", "wingspan"},       {"max_model_len", options_.limits.max_positions},
      {"vocab_size", options_.limits.vocab}, {"eos_token", nullptr},
      {"eos_token_id", options_.eos},        {"bos_token", nullptr}};
  if (!text_->has_tokenizer()) return info;
  if (!options_.eos.empty()) info["eos_token"] = text_->tokenizer().token_bytes(options_.eos[0]);
  if (text_->bos()) info["bos_token"] = text_->tokenizer().token_bytes(*text_->bos());
  info["chat_template"] = chat_.empty() ? OrderedJson(nullptr) : OrderedJson(chat_.source());
  return info;
}

ApiExpected<std::string> Api::served_name(const std::string& wanted) const {
  if (wanted.empty()) return options_.names[0];
  const auto& names = options_.names;
  if (std::find(names.begin(), names.end(), wanted) != names.end()) return wanted;
  return ApiUnexpected({404,
                        fmt::format("the model {} is not served here, {} is", wanted, names[0]),
                        "model", "model_not_found"});
}

ApiExpected<std::vector<int32_t>> Api::prompt_ids(const PromptInput& input) const {
  std::vector<int32_t> ids;
  if (const auto* text = std::get_if<std::string>(&input)) {
    auto encoded = text_->encode(*text, "prompt");
    if (!encoded) return ApiUnexpected(from_error(encoded.error(), "prompt"));
    ids = *std::move(encoded);
  } else {
    ids = std::get<std::vector<int32_t>>(input);
  }
  if (ids.empty()) return ApiUnexpected({400, "the prompt is empty", "prompt", ""});
  for (const int32_t id : ids) {
    if (id < options_.limits.vocab) continue;
    return ApiUnexpected(
        {400, fmt::format("token id {} is outside the vocabulary of {}", id, options_.limits.vocab),
         "prompt", ""});
  }
  return ids;
}

ApiExpected<Request> Api::engine_request(const GenerationRequest& r, int64_t longest_prompt) const {
  const StepLimits& l = options_.limits;
  Request out;
  out.sampling = r.sampling;
  const auto outside = [&](int32_t id, const char* field) {
    return ApiUnexpected(
        {400, fmt::format("token id {} is outside the vocabulary of {}", id, l.vocab), field, ""});
  };
  for (const auto& [id, bias] : r.sampling.logit_bias) {
    if (id >= l.vocab) return outside(id, "logit_bias");
  }
  for (const int32_t id : r.stop_ids) {
    if (id >= l.vocab) return outside(id, "stop_token_ids");
  }
  const int64_t room = l.max_positions - longest_prompt;
  const int64_t least = r.max_tokens.value_or(1) == 0 ? 0 : 1;
  out.max_tokens = r.max_tokens.value_or(room);
  if (room < least || out.max_tokens > room) {
    return ApiUnexpected(
        {400,
         fmt::format("this model's maximum context length is {} tokens; {} of the prompt and {} of "
                     "the answer are more",
                     l.max_positions, longest_prompt, std::max(least, r.max_tokens.value_or(1))),
         longest_prompt >= l.max_positions ? "prompt" : "max_tokens", "context_length_exceeded"});
  }
  if (r.sampling.min_tokens > out.max_tokens) {
    return ApiUnexpected({400,
                          fmt::format("min_tokens {} is more than max_tokens {}",
                                      r.sampling.min_tokens, out.max_tokens),
                          "min_tokens", ""});
  }
  if (!r.stops.empty() && !text_->has_tokenizer()) {
    return ApiUnexpected({400, "stop texts need a model with tokenizer.json", "stop", ""});
  }
  out.stop_ids = r.stop_ids;
  if (!r.ignore_eos)
    out.stop_ids.insert(out.stop_ids.end(), options_.eos.begin(), options_.eos.end());
  out.top_logprobs = r.top_logprobs;
  out.priority = r.priority;
  out.hash_logits = receipt_ != nullptr;
  return out;
}

AnswerSetup Api::setup_of(const HttpRequest& http, const GenerationRequest& r, bool chat,
                          std::string model) const {
  AnswerSetup s;
  s.chat = chat;
  s.id = fmt::format("{}-{}", chat ? "chatcmpl" : "cmpl", http.request_id);
  s.model = std::move(model);
  s.created_s = unix_seconds();
  s.received_ns = http.received_ns;
  s.options = r;
  s.text = text_;
  s.observer = observer_;
  return s;
}

void Api::note_unknown(const std::vector<std::string>& fields) {
  if (!options_.log) return;
  const std::lock_guard lock(mutex_);
  for (const std::string& field : fields) {
    const bool known = std::find(noted_.begin(), noted_.end(), field) != noted_.end();
    if (known || noted_.size() >= 256) continue;
    noted_.push_back(field);
    options_.log(fmt::format("unknown field {:?} is ignored", field));
  }
}

void Api::begin(AnswerSetup setup, const Request& request, const Reply& reply) {
  note_unknown(setup.options.unknown);
  std::make_shared<Answer>(std::move(setup), reply, port_, receipt_)->start(request);
}

void Api::completions(const HttpRequest& http, const Reply& reply) {
  auto parsed = parse_completion(http.body, options_.defaults);
  if (!parsed) return reply_error(reply, parsed.error());
  CompletionRequest& r = *parsed;
  auto name = served_name(r.model);
  if (!name) return reply_error(reply, name.error());
  AnswerSetup setup = setup_of(http, r, false, *name);
  setup.echo = r.echo;
  size_t longest = 0;
  for (const PromptInput& input : r.prompts) {
    auto ids = prompt_ids(input);
    if (!ids) return reply_error(reply, ids.error());
    longest = std::max(longest, ids->size());
    const auto* text = std::get_if<std::string>(&input);
    std::string shown = text != nullptr ? *text : "";
    if (text == nullptr && r.echo && text_->has_tokenizer()) {
      shown = text_->tokenizer().decode(*ids, true).value_or("");
    }
    setup.prompt_texts.push_back(std::move(shown));
    setup.prompts.push_back(*std::move(ids));
  }
  auto request = engine_request(r, static_cast<int64_t>(longest));
  if (!request) return reply_error(reply, request.error());
  request->score = r.echo && r.logprobs;
  begin(std::move(setup), *request, reply);
}

ApiExpected<ChatTemplate::Rendered> Api::render(const ChatRequest& r) {
  auto rendered = chat_.render(worker_, r.messages, r.kwargs, r.add_generation_prompt,
                               r.continue_final_message);
  if (!rendered) return ApiUnexpected(from_error(rendered.error(), "messages"));
  return *std::move(rendered);
}

void Api::chat(const HttpRequest& http, const Reply& reply) {
  auto parsed = parse_chat(http.body, options_.defaults);
  if (!parsed) return reply_error(reply, parsed.error());
  auto name = served_name(parsed->model);
  if (!name) return reply_error(reply, name.error());
  auto rendered = render(*parsed);
  if (!rendered) return reply_error(reply, rendered.error());
  auto ids = ChatTemplate::encode(*text_, *rendered);
  if (!ids) return reply_error(reply, from_error(ids.error(), "messages"));
  if (ids->empty())
    return reply_error(reply, {400, "the rendered prompt is empty", "messages", ""});
  AnswerSetup setup = setup_of(http, *parsed, true, *name);
  setup.splits_reasoning = thinks_ && parsed->split_reasoning;
  setup.reasoning_open = ReasoningSplitter::opens(rendered->text);
  auto request = engine_request(*parsed, static_cast<int64_t>(ids->size()));
  if (!request) return reply_error(reply, request.error());
  setup.prompts.push_back(*std::move(ids));
  setup.prompt_texts.emplace_back();
  begin(std::move(setup), *request, reply);
}

void Api::tokenize(const HttpRequest& http, const Reply& reply) {
  auto parsed = parse_tokenize(http.body);
  if (!parsed) return reply_error(reply, parsed.error());
  if (auto name = served_name(parsed->model); !name) return reply_error(reply, name.error());
  if (!text_->has_tokenizer()) {
    return reply_error(reply, {400, "the model has no tokenizer.json", "", ""});
  }
  Expected<std::vector<int32_t>> ids = std::vector<int32_t>{};
  if (parsed->chat) {
    auto rendered = render(*parsed->chat);
    if (!rendered) return reply_error(reply, rendered.error());
    ids = ChatTemplate::encode(*text_, *rendered);
  } else if (parsed->add_special && !parsed->prompt->empty()) {
    ids = text_->encode(*parsed->prompt, "prompt");
  } else {
    ids = text_->tokenizer().encode(*parsed->prompt, parsed->add_special);
  }
  if (!ids) return reply_error(reply, from_error(ids.error(), "prompt"));
  OrderedJson out = {
      {"count", ids->size()}, {"max_model_len", options_.limits.max_positions}, {"tokens", *ids}};
  if (parsed->return_strings) {
    out["token_strs"] = OrderedJson::array();
    for (const int32_t id : *ids) out["token_strs"].push_back(text_->tokenizer().token_bytes(id));
  }
  reply_json(reply, out);
}

void Api::detokenize(const HttpRequest& http, const Reply& reply) {
  auto ids = parse_detokenize(http.body);
  if (!ids) return reply_error(reply, ids.error());
  if (!text_->has_tokenizer()) {
    return reply_error(reply, {400, "the model has no tokenizer.json", "", ""});
  }
  auto text = text_->tokenizer().decode(*ids, false);
  if (!text) return reply_error(reply, from_error(text.error(), "tokens"));
  reply_json(reply, {{"prompt", *text}});
}

}  // namespace wingspan::serve
