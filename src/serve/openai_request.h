// The bodies of /v1/completions and /v1/chat/completions as checked, typed requests. Knows fields,
// not models: ids and lengths are checked where the engine's limits are known.
//
// A field that is not known is ignored and named; one that is known, not supported, and would
// change the answer is an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "engine/messages.h"

namespace wingspan::serve {

// What a client is told; `status` is the HTTP status.
struct ApiError {
  int status = 400;
  std::string message;
  std::string param;  // the field; may be empty
  std::string code;   // may be empty
};
template <class T>
using ApiExpected = tl::expected<T, ApiError>;
using ApiUnexpected = tl::unexpected<ApiError>;

// {"error":{"message","type","param","code"}}
std::string error_json(const ApiError& error);

// What applies where a request says nothing (generation_config.json, as vLLM does).
struct SamplingDefaults {
  double temperature = 1, top_p = 1, min_p = 0, repetition_penalty = 1;
  int64_t top_k = 0;
};

inline constexpr int64_t kMaxChoices = 128;  // prompts × n of one request
inline constexpr size_t kMaxStops = 64, kMaxStopBytes = 4096, kMaxBiases = 1024;

using PromptInput = std::variant<std::string, std::vector<int32_t>>;

// What both kinds of requests have.
struct GenerationRequest {
  std::string model;  // "": the served one
  std::optional<int64_t> max_tokens;
  int n = 1;
  bool stream = false, include_usage = false, continuous_usage = false;
  bool logprobs = false;
  int top_logprobs = 0;  // with logprobs
  std::vector<std::string> stops;
  std::vector<int32_t> stop_ids;
  bool include_stop = false, ignore_eos = false, skip_special = true;
  bool return_ids = false, tokens_as_ids = false;
  SamplingParams sampling;
  int priority = 0;
  bool receipt = false;
  std::vector<std::string> unknown;  // fields that were ignored
};

struct CompletionRequest : GenerationRequest {
  std::vector<PromptInput> prompts;
  bool echo = false;
};

struct ChatRequest : GenerationRequest {
  // In the order of their keys, which templates show.
  OrderedJson messages;  // an array of objects with a role
  OrderedJson kwargs;    // an object: further variables of the template
  bool add_generation_prompt = true, continue_final_message = false;
  bool split_reasoning = true;
};

ApiExpected<CompletionRequest> parse_completion(std::string_view body,
                                                const SamplingDefaults& defaults);
ApiExpected<ChatRequest> parse_chat(std::string_view body, const SamplingDefaults& defaults);

// /tokenize: a prompt or messages. /detokenize: ids.
struct TokenizeRequest {
  std::string model;
  std::optional<std::string> prompt;
  std::optional<ChatRequest> chat;
  bool add_special = true;
  bool return_strings = false;
};
ApiExpected<TokenizeRequest> parse_tokenize(std::string_view body);
ApiExpected<std::vector<int32_t>> parse_detokenize(std::string_view body);

}  // namespace wingspan::serve
