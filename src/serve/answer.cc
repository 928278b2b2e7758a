#include "serve/answer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "serve/choice.h"

namespace wingspan::serve {
namespace {

std::string to_line(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace

Answer::Answer(AnswerSetup setup, std::shared_ptr<Responder> responder, EnginePort& port,
               ReceiptMaker receipt)
    : setup_(std::move(setup)),
      responder_(std::move(responder)),
      port_(port),
      receipt_(std::move(receipt)) {}

Answer::~Answer() = default;

void Answer::start(const Request& request) {
  std::vector<std::pair<Request, std::shared_ptr<RequestListener>>> requests;
  const int n = setup_.options.n;
  for (size_t p = 0; p < setup_.prompts.size(); ++p) {
    for (int i = 0; i < n; ++i) {
      Request r = request;
      r.prompt = setup_.prompts[p];
      // As vLLM: each choice of a prompt has a seed of its own.
      r.sampling.seed += static_cast<uint64_t>(i);
      const int index = static_cast<int>(p) * n + i;
      choices_.push_back(std::make_unique<Choice>(*this, index, p, r));
      requests.emplace_back(std::move(r), std::shared_ptr<RequestListener>(shared_from_this(),
                                                                           choices_.back().get()));
    }
  }
  auto ids = port_.submit_all(std::move(requests));
  if (!ids) {
    const bool busy = ids.error().kind == ErrorKind::kInvalidInput;
    HttpResponse refused;
    refused.status = busy ? 429 : 503;
    refused.body = error_json({refused.status, ids.error().message(), "", ""});
    if (busy) refused.headers.emplace_back("Retry-After", "2");
    responder_->reply(std::move(refused));
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    ids_ = *std::move(ids);
  }
  responder_->on_gone([weak = weak_from_this()] {
    if (const auto answer = weak.lock()) answer->cancel_all();
  });
}

void Answer::cancel_all() {
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    ids = ids_;
  }
  for (const RequestId id : ids) port_.cancel(id);
}

OrderedJson Answer::head() const {
  const char* object = !setup_.chat            ? "text_completion"
                       : setup_.options.stream ? "chat.completion.chunk"
                                               : "chat.completion";
  return {{"id", setup_.id},
          {"object", object},
          {"created", setup_.created_s},
          {"model", setup_.model}};
}

int64_t Answer::completion_tokens() const {
  int64_t tokens = 0;
  for (const auto& choice : choices_) tokens += choice->tokens();
  return tokens;
}

OrderedJson Answer::usage(int64_t completion_tokens) const {
  int64_t prompt = 0;
  for (const auto& ids : setup_.prompts) prompt += static_cast<int64_t>(ids.size());
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion_tokens},
          {"total_tokens", prompt + completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", cached_tokens_}}}};
}

void Answer::add_event(OrderedJson choice, const Choice& from) {
  OrderedJson event = head();
  event["choices"] = OrderedJson::array({std::move(choice)});
  if (setup_.options.continuous_usage) event["usage"] = usage(from.tokens());
  events_.push_back(to_line(event));
}

void Answer::flush() {
  if (ended_ || events_.empty()) return;
  if (!streaming_) responder_->begin_stream();
  streaming_ = true;
  responder_->events(events_);
  events_.clear();
}

void Answer::choice_done() {
  if (++done_ < choices_.size() || ended_) return;
  if (!setup_.options.stream) {
    ended_ = true;
    HttpResponse response;
    response.body = to_line(document());
    responder_->reply(std::move(response));
    return;
  }
  if (setup_.options.include_usage) {
    OrderedJson event = head();
    event["choices"] = OrderedJson::array();
    event["usage"] = usage(completion_tokens());
    events_.push_back(to_line(event));
  }
  flush();
  ended_ = true;
  responder_->end_stream();
}

OrderedJson Answer::document() const {
  OrderedJson doc = head();
  doc["choices"] = OrderedJson::array();
  for (const auto& choice : choices_) doc["choices"].push_back(choice->document());
  doc["usage"] = usage(completion_tokens());
  if (setup_.chat) doc["system_fingerprint"] = nullptr;
  return doc;
}

void Answer::fail(const ApiError& error) {
  if (ended_) return;
  flush();
  ended_ = true;
  cancel_all();
  if (streaming_) {
    responder_->events({error_json(error)});
    responder_->end_stream();
    return;
  }
  HttpResponse response;
  response.status = error.status;
  response.body = error_json(error);
  if (error.status == 503) response.headers.emplace_back("Retry-After", "5");
  responder_->reply(std::move(response));
}

}  // namespace wingspan::serve
