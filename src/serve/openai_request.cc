#include "serve/openai_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "serve/fields.h"

namespace wingspan::serve {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 31;

ApiExpected<Json> parse_body(std::string_view body) {
  JsonLimits limits;
  limits.max_depth = 32;
  auto json = parse_json(body, "body", limits);
  if (!json)
    return ApiUnexpected({400, "the body is not valid: " + json.error().message(), "", ""});
  if (!json->is_object()) return ApiUnexpected({400, "the body must be a JSON object", "", ""});
  return *std::move(json);
}

void read_stops(Fields& f, GenerationRequest& r) {
  const auto add = [&](const Json& value) {
    if (!value.is_string()) return f.fail("stop", "stop must be a string or a list of strings");
    std::string text = value.get<std::string>();
    if (text.empty()) return;  // as vLLM: an empty one stops nothing
    if (text.size() > kMaxStopBytes || r.stops.size() == kMaxStops) {
      return f.fail("stop",
                    fmt::format("at most {} stop texts of {} bytes", kMaxStops, kMaxStopBytes));
    }
    r.stops.push_back(std::move(text));
  };
  const Json* stop = f.find("stop");
  if (stop != nullptr && stop->is_array()) {
    for (const Json& item : *stop) add(item);
  } else if (stop != nullptr) {
    add(*stop);
  }
  r.stop_ids = f.ids("stop_token_ids");
  if (r.stop_ids.size() > kMaxStops) {
    f.fail("stop_token_ids", fmt::format("at most {} stop ids", kMaxStops));
  }
  r.include_stop = f.boolean("include_stop_str_in_output", false);
  r.ignore_eos = f.boolean("ignore_eos", false);
}

void read_bias(Fields& f, SamplingParams& s) {
  const Json* bias = f.find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object() || bias->size() > kMaxBiases) {
    return f.fail("logit_bias",
                  fmt::format("logit_bias must be an object of at most {} token ids", kMaxBiases));
  }
  for (const auto& [key, value] : bias->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const double x = value.is_number() ? value.get<double>() : 1e9;
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || !(std::abs(x) <= 100)) {
      return f.fail("logit_bias", "logit_bias must map token ids to numbers from -100 to 100");
    }
    s.logit_bias.emplace_back(id, static_cast<float>(x));
  }
  std::sort(s.logit_bias.begin(), s.logit_bias.end());
}

void read_sampling(Fields& f, const SamplingDefaults& d, SamplingParams& s) {
  s.temperature = f.number("temperature", 0, 100, d.temperature);
  s.top_p = f.number("top_p", 0, 1, d.top_p);
  if (s.top_p <= 0) f.fail("top_p", "top_p must be above 0 and at most 1");
  s.top_k = std::max<int64_t>(0, f.integer("top_k", -1, kMostTokens, d.top_k));
  s.min_p = f.number("min_p", 0, 1, d.min_p);
  s.presence_penalty = f.number("presence_penalty", -2, 2, 0);
  s.frequency_penalty = f.number("frequency_penalty", -2, 2, 0);
  s.repetition_penalty = f.number("repetition_penalty", 0, 1000, d.repetition_penalty);
  if (s.repetition_penalty < 1e-3) {
    f.fail("repetition_penalty", "repetition_penalty must be at least 0.001");
  }
  s.min_tokens = f.integer("min_tokens", 0, kMostTokens, 0);
  s.seed = static_cast<uint64_t>(f.integer("seed", INT64_MIN, INT64_MAX, 0));
  read_bias(f, s);
}

void read_stream(Fields& f, GenerationRequest& r) {
  r.stream = f.boolean("stream", false);
  const Json* options = f.find("stream_options");
  if (options == nullptr) return;
  if (!r.stream) return f.fail("stream_options", "stream_options needs stream: true");
  if (!options->is_object()) return f.fail("stream_options", "stream_options must be an object");
  Fields o(*options);
  r.include_usage = o.boolean("include_usage", false);
  r.continuous_usage = o.boolean("continuous_usage_stats", false);
  if (o.error()) f.fail("stream_options", o.error()->message);
}

// Known to other servers; to go on without them would be another answer than was asked for.
void refuse_unsupported(Fields& f) {
  const Json none = Json::array(), object = Json::object(), no = false;
  const char* constrained = "answers cannot be held to a grammar yet";
  f.refuse("tools", {none}, "no tools yet");
  f.refuse("functions", {none}, "no functions yet");
  f.refuse("tool_choice", {"none", "auto"}, "no tools yet");
  f.refuse("function_call", {"none", "auto"}, "no functions yet");
  f.refuse("response_format", {Json{{"type", "text"}}}, constrained);
  for (const char* key :
       {"guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_decoding_backend",
        "structured_outputs", "structural_tag", "regex", "ebnf", "json_schema"}) {
    f.refuse(key, {none, object}, constrained);
  }
  f.refuse("prompt_logprobs", {}, "use echo with logprobs");
  f.refuse("suffix", {""}, "no filling in the middle");
  f.refuse("best_of_use_beam", {no}, "no beam search");
  f.refuse("use_beam_search", {no}, "no beam search");
  f.refuse("length_penalty", {1, 1.0}, "no beam search");
  f.refuse("bad_words", {none}, "use logit_bias");
  f.refuse("allowed_token_ids", {none}, "use logit_bias");
  f.refuse("logits_processors", {none}, "no code of a client runs here");
  f.refuse("audio", {}, "text only");
  f.refuse("modalities", {none, Json::array({"text"})}, "text only");
  f.refuse("prompt_embeds", {}, "text or token ids only");
  f.refuse("truncate_prompt_tokens", {}, "shorten the prompt yourself");
  f.refuse("logprob_token_ids", {none}, "use top_logprobs");
}

void read_common(Fields& f, const SamplingDefaults& defaults, GenerationRequest& r) {
  r.model = f.text("model", "");
  r.n = static_cast<int>(f.integer("n", 1, kMaxChoices, 1));
  const int64_t best_of = f.integer("best_of", 1, kMaxChoices, r.n);
  if (best_of != r.n) f.fail("best_of", "best_of must be n or absent");
  read_stream(f, r);
  read_stops(f, r);
  read_sampling(f, defaults, r.sampling);
  r.skip_special = f.boolean("skip_special_tokens", true);
  r.return_ids = f.boolean("return_token_ids", false);
  r.tokens_as_ids = f.boolean("return_tokens_as_token_ids", false);
  r.priority = static_cast<int>(f.integer("priority", -1000000, 1000000, 0));
  r.receipt = f.boolean("receipt", false);
  refuse_unsupported(f);
  // Without an influence on the answer.
  for (const char* key : {"user", "metadata", "store", "service_tier", "parallel_tool_calls",
                          "spaces_between_special_tokens", "request_id", "safety_identifier",
                          "prompt_cache_key", "lora_path", "detokenize"}) {
    f.ignore(key);
  }
}

ApiExpected<void> finish(const Fields& f, GenerationRequest& r) {
  if (f.error()) return ApiUnexpected(*f.error());
  r.unknown = f.unknown();
  return {};
}

void read_prompts(Fields& f, CompletionRequest& r) {
  const Json* prompt = f.find("prompt");
  if (prompt == nullptr) return f.fail("prompt", "a prompt is needed");
  const char* forms = "prompt must be a string, a list of strings, of token ids, or of such lists";
  if (prompt->is_string()) {
    r.prompts.emplace_back(prompt->get<std::string>());
    return;
  }
  if (!prompt->is_array() || prompt->empty()) return f.fail("prompt", forms);
  if (prompt->front().is_number()) {
    r.prompts.emplace_back(f.ids(*prompt, "prompt"));
    return;
  }
  if (static_cast<int64_t>(prompt->size()) > kMaxChoices) {
    return f.fail("prompt", fmt::format("at most {} prompts", kMaxChoices));
  }
  for (const Json& item : *prompt) {
    if (item.is_string()) {
      r.prompts.emplace_back(item.get<std::string>());
    } else if (item.is_array()) {
      r.prompts.emplace_back(f.ids(item, "prompt"));
    } else {
      return f.fail("prompt", forms);
    }
  }
}

void check_messages(Fields& f, const Json* messages) {
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    return f.fail("messages", "messages must be a list with at least one message");
  }
  for (const Json& message : *messages) {
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      return f.fail("messages", "each message must be an object with a role");
    }
    const auto content = message.find("content");
    if (content == message.end() || content->is_null() || content->is_string()) continue;
    if (!content->is_array()) {
      return f.fail("messages", "content must be a string, null, or a list of parts");
    }
    for (const Json& part : *content) {
      const bool text = part.is_object() && part.value("type", Json()) == "text" &&
                        part.contains("text") && part["text"].is_string();
      if (!text)
        return f.fail("messages", "only parts {\"type\":\"text\",\"text\":…} are supported");
    }
  }
}

// `body` is the text that `f` was read from, and valid.
void read_chat(Fields& f, std::string_view body, ChatRequest& r) {
  const OrderedJson ordered = OrderedJson::parse(body);
  const Json* messages = f.find("messages");
  check_messages(f, messages);
  if (messages != nullptr) r.messages = ordered["messages"];
  r.add_generation_prompt = f.boolean("add_generation_prompt", true);
  r.continue_final_message = f.boolean("continue_final_message", false);
  if (r.continue_final_message && r.add_generation_prompt) {
    if (f.find("add_generation_prompt") != nullptr) {
      f.fail("continue_final_message", "continue_final_message excludes add_generation_prompt");
    }
    r.add_generation_prompt = false;
  }
  r.kwargs = OrderedJson::object();
  if (const Json* kwargs = f.find("chat_template_kwargs")) {
    if (kwargs->is_object()) {
      r.kwargs = ordered["chat_template_kwargs"];
    } else {
      f.fail("chat_template_kwargs", "chat_template_kwargs must be an object");
    }
  }
  if (const Json* effort = f.find("reasoning_effort"))
    r.kwargs["reasoning_effort"] = OrderedJson(*effort);
  r.split_reasoning = f.boolean("separate_reasoning", true);
  f.refuse("chat_template", {}, "give it to the server with --chat-template");
  f.refuse("documents", {Json::array()}, "put them into a message");
}

}  // namespace

std::string error_json(const ApiError& error) {
  const char* type = error.status == 401   ? "authentication_error"
                     : error.status == 404 ? "not_found_error"
                     : error.status == 429 ? "rate_limit_error"
                     : error.status >= 500 ? "server_error"
                                           : "invalid_request_error";
  OrderedJson inner = {{"message", error.message}, {"type", type}};
  inner["param"] = error.param.empty() ? OrderedJson(nullptr) : OrderedJson(error.param);
  inner["code"] = error.code.empty() ? OrderedJson(error.status) : OrderedJson(error.code);
  return OrderedJson{{"error", inner}}.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

ApiExpected<CompletionRequest> parse_completion(std::string_view body,
                                                const SamplingDefaults& defaults) {
  const auto json = parse_body(body);
  if (!json) return ApiUnexpected(json.error());
  Fields f(*json);
  CompletionRequest r;
  read_common(f, defaults, r);
  read_prompts(f, r);
  r.max_tokens = f.integer("max_tokens", 0, kMostTokens, 16);
  r.echo = f.boolean("echo", false);
  if (r.max_tokens == 0 && !r.echo)
    f.fail("max_tokens", "max_tokens must be at least 1 without echo");
  if (f.find("logprobs") != nullptr) {
    r.logprobs = true;
    r.top_logprobs = static_cast<int>(f.integer("logprobs", 0, kMaxTopLogprobs, 0));
  }
  if (static_cast<int64_t>(r.prompts.size()) * r.n > kMaxChoices) {
    f.fail("n", fmt::format("prompts times n must be at most {}", kMaxChoices));
  }
  if (auto done = finish(f, r); !done) return ApiUnexpected(done.error());
  return r;
}

ApiExpected<ChatRequest> parse_chat(std::string_view body, const SamplingDefaults& defaults) {
  const auto json = parse_body(body);
  if (!json) return ApiUnexpected(json.error());
  Fields f(*json);
  ChatRequest r;
  read_common(f, defaults, r);
  read_chat(f, body, r);
  // The newer name wins.
  for (const char* key : {"max_completion_tokens", "max_tokens"}) {
    const int64_t value = f.integer(key, 1, kMostTokens, 0);
    if (value > 0 && !r.max_tokens) r.max_tokens = value;
  }
  r.logprobs = f.boolean("logprobs", false);
  r.top_logprobs = static_cast<int>(f.integer("top_logprobs", 0, kMaxTopLogprobs, 0));
  if (r.top_logprobs > 0 && !r.logprobs)
    f.fail("top_logprobs", "top_logprobs needs logprobs: true");
  if (auto done = finish(f, r); !done) return ApiUnexpected(done.error());
  return r;
}

ApiExpected<TokenizeRequest> parse_tokenize(std::string_view body) {
  const auto json = parse_body(body);
  if (!json) return ApiUnexpected(json.error());
  Fields f(*json);
  TokenizeRequest r;
  r.model = f.text("model", "");
  r.add_special = f.boolean("add_special_tokens", true);
  r.return_strings = f.boolean("return_token_strs", false);
  if (f.find("messages") != nullptr) {
    ChatRequest chat;
    read_chat(f, body, chat);
    r.chat = std::move(chat);
  } else if (f.find("prompt") == nullptr) {
    f.fail("prompt", "a prompt or messages are needed");
  } else {
    r.prompt = f.text("prompt", "");
  }
  if (f.error()) return ApiUnexpected(*f.error());
  return r;
}

ApiExpected<std::vector<int32_t>> parse_detokenize(std::string_view body) {
  const auto json = parse_body(body);
  if (!json) return ApiUnexpected(json.error());
  Fields f(*json);
  if (f.find("tokens") == nullptr) f.fail("tokens", "tokens are needed");
  auto ids = f.ids("tokens");
  if (f.error()) return ApiUnexpected(*f.error());
  return ids;
}

}  // namespace wingspan::serve
