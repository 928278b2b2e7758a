// The routes of the OpenAI API and those that belong to it: from a body to a request of the engine,
// and an Answer that listens to it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "serve/answer.h"
#include "serve/chat_templates.h"
#include "serve/engine_port.h"
#include "serve/http_server.h"

namespace wingspan::serve {

struct ApiOptions {
  std::vector<std::string> names;  // of the served model; the first is its own
  std::string root;                // its directory
  int64_t created_s = 0;           // of the server
  StepLimits limits;
  std::vector<int32_t> eos;
  SamplingDefaults defaults;
  std::string version;
  OrderedJson server_info;
  std::function<void(const std::string&)> log;  // one line; may be empty
};

class Api {
 public:
  // `observer` may be null; it and `port` outlive this.
  Api(ApiOptions options, EnginePort& port, std::shared_ptr<const TextModel> text,
      ChatTemplate chat, AnswerObserver* observer, ReceiptMaker receipt);
  std::vector<Route> routes();

 private:
  using Reply = std::shared_ptr<Responder>;
  void completions(const HttpRequest& http, const Reply& reply);
  void chat(const HttpRequest& http, const Reply& reply);
  void tokenize(const HttpRequest& http, const Reply& reply);
  void detokenize(const HttpRequest& http, const Reply& reply);
  OrderedJson models() const;
  OrderedJson tokenizer_info() const;

  ApiExpected<std::string> served_name(const std::string& wanted) const;
  ApiExpected<std::vector<int32_t>> prompt_ids(const PromptInput& input) const;
  ApiExpected<ChatTemplate::Rendered> render(const ChatRequest& r);
  // Everything that needs the engine's limits.
  ApiExpected<Request> engine_request(const GenerationRequest& r, int64_t longest_prompt) const;
  AnswerSetup setup_of(const HttpRequest& http, const GenerationRequest& r, bool chat,
                       std::string model) const;
  void note_unknown(const std::vector<std::string>& fields);
  void begin(AnswerSetup setup, const Request& request, const Reply& reply);

  const ApiOptions options_;
  EnginePort& port_;
  const std::shared_ptr<const TextModel> text_;
  const ChatTemplate chat_;
  AnswerObserver* observer_;
  const ReceiptMaker receipt_;
  TemplateWorker worker_;
  bool thinks_ = false;  // the template knows <think>
  std::mutex mutex_;
  std::vector<std::string> noted_;  // unknown fields that the log has named
};

}  // namespace wingspan::serve
