// One choice of an answer: the tokens of one request, turned into text and log probabilities.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/answer.h"

namespace wingspan::serve {

class Answer::Choice final : public RequestListener {
 public:
  Choice(Answer& answer, int index, size_t prompt, const Request& request);

  void on_start(const StartEvent& event) override;
  void on_token(const TokenEvent& event) override;
  void on_end(FinishReason reason, const std::string& what) override;
  void on_step_end() override { answer_.flush(); }

  int64_t tokens() const { return static_cast<int64_t>(record_.output.size()); }
  // {"index", "text" or "message", "logprobs", "finish_reason", …}, when it has ended.
  OrderedJson document() const;

 private:
  // What one token adds.
  struct Piece {
    SplitText text;
    OrderedJson logprobs;  // null: none wanted
    std::vector<int32_t> ids;
  };
  const GenerationRequest& options() const { return answer_.setup_.options; }
  const Tokenizer* tokenizer() const;
  SplitText text_of(const TokenEvent& event, bool last);
  SplitText split(std::string text, bool last);
  std::string push(int32_t token);
  void add_logprob(const TokenEvent& event, OrderedJson& into);
  void add_prompt_logprobs(OrderedJson& into);
  OrderedJson empty_logprobs() const;
  OrderedJson event(const Piece& piece, bool first) const;
  void keep(const Piece& piece);
  void finish_with(const Piece& piece, bool first);
  void time_token();
  void report_done(const char* finish);
  void add_tail(OrderedJson& choice) const;

  Answer& answer_;  // owns this
  const std::shared_ptr<const TextModel> text_;
  const int index_;
  const size_t prompt_;
  std::optional<OutputText> output_;  // none without a tokenizer
  std::optional<ReasoningSplitter> splitter_;
  std::vector<TokenEvent> prompt_events_;
  ChoiceRecord record_;
  SplitText all_;
  OrderedJson logprobs_;
  int cut_bytes_ = 0;   // that a code point begun by the prompt still wants
  int64_t offset_ = 0;  // of the next token in the text, in code points
  std::string finish_;
  OrderedJson stop_reason_;
  bool ended_ = false;
  int64_t started_ns_ = 0, first_ns_ = 0, last_ns_ = 0;
};

}  // namespace wingspan::serve
