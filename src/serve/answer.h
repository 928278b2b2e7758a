// From a request's tokens to what its client reads: texts, stop texts, log probabilities, events of
// a stream or one document. A stream and a document of the same request have the same text, since
// the same code makes both.
//
// All calls but the constructor's and start() come from the server's text thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/engine_port.h"
#include "serve/exchange.h"
#include "serve/openai_request.h"
#include "serve/reasoning.h"
#include "tokenizer/text_model.h"

namespace wingspan::serve {

// What a finished choice is worth to others: metrics, receipts.
struct ChoiceRecord {
  std::string id;  // of the answer
  int index = 0;
  std::vector<int32_t> prompt, output;
  std::vector<float> logprobs;
  Request request;           // its prompt is empty
  uint64_t logits_hash = 0;  // chained over the output's rows
  std::string finish;
};

// Told on the text thread.
class AnswerObserver {
 public:
  virtual ~AnswerObserver() = default;
  virtual void on_first_token(double /*ttft_s*/, double /*queued_s*/) {}
  virtual void on_next_token(double /*itl_s*/) {}
  struct Done {
    std::string finish;  // "stop", "length", "abort", "error"
    double e2e_s = 0, queued_s = 0, prefill_s = 0, decode_s = 0;
    int64_t prompt_tokens = 0, output_tokens = 0;
  };
  virtual void on_done(const Done& /*done*/) {}
  virtual void on_record(const ChoiceRecord& /*record*/) {}
};

// What an answer is made of; fixed when its request was parsed.
struct AnswerSetup {
  bool chat = false, echo = false;
  std::string id, model;
  int64_t created_s = 0, received_ns = 0;
  GenerationRequest options;
  std::shared_ptr<const TextModel> text;  // never null; may have no tokenizer
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::string> prompt_texts;  // for echo
  bool splits_reasoning = false, reasoning_open = false;
  AnswerObserver* observer = nullptr;  // outlives the answer; may be null
  const Clock* clock = &system_clock();
};

// The receipt of one choice, as JSON; null where none is wanted. Given by who knows the model.
using ReceiptMaker = std::function<OrderedJson(const ChoiceRecord&)>;

class Answer : public std::enable_shared_from_this<Answer> {
 public:
  Answer(AnswerSetup setup, std::shared_ptr<Responder> responder, EnginePort& port,
         ReceiptMaker receipt);
  ~Answer();

  // Submits `request` (its prompt is set here) for every prompt and choice; answers with an error
  // if the port refuses.
  void start(const Request& request);

 private:
  class Choice;
  friend class Choice;
  void add_event(OrderedJson choice, const Choice& from);
  void flush();
  void choice_done();
  void fail(const ApiError& error);
  void cancel_all();
  OrderedJson usage(int64_t completion_tokens) const;
  int64_t completion_tokens() const;
  OrderedJson head() const;
  OrderedJson document() const;

  const AnswerSetup setup_;
  std::shared_ptr<Responder> responder_;
  EnginePort& port_;
  const ReceiptMaker receipt_;
  // Whoever listens to a request holds the whole answer (an aliasing pointer to its choice).
  std::vector<std::unique_ptr<Choice>> choices_;
  std::vector<std::string> events_;
  size_t done_ = 0;
  int64_t cached_tokens_ = 0;
  bool streaming_ = false, ended_ = false;
  std::mutex mutex_;  // of ids_
  std::vector<RequestId> ids_;
};

}  // namespace wingspan::serve
