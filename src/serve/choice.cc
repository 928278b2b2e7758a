#include "serve/choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "serve/token_text.h"

namespace wingspan::serve {
namespace {

// Bytes that the code point at the prompt's end still wants; 0 where it is complete.
int missing_bytes(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt) {
  std::string tail;
  for (size_t i = prompt.size() - std::min<size_t>(prompt.size(), 4); i < prompt.size(); ++i) {
    tail += tokenizer.token_bytes(prompt[i]);
  }
  for (int back = 1; back <= 3 && static_cast<size_t>(back) <= tail.size(); ++back) {
    const auto byte = static_cast<unsigned char>(tail[tail.size() - static_cast<size_t>(back)]);
    if ((byte & 0xC0) == 0x80) continue;
    const int wants = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return wants > back ? wants - back : 0;
  }
  return 0;
}

}  // namespace

Answer::Choice::Choice(Answer& answer, int index, size_t prompt, const Request& request)
    : answer_(answer), text_(answer.setup_.text), index_(index), prompt_(prompt) {
  const AnswerSetup& s = answer_.setup_;
  if (text_->has_tokenizer()) {
    output_.emplace(text_->tokenizer(), s.options.stops, s.options.include_stop,
                    s.options.skip_special);
  }
  if (s.splits_reasoning) splitter_.emplace(s.reasoning_open);
  record_.id = s.id;
  record_.index = index;
  record_.request = request;
  record_.request.prompt.clear();
  logprobs_ = empty_logprobs();
  if (output_) cut_bytes_ = missing_bytes(text_->tokenizer(), s.prompts[prompt]);
}

const Tokenizer* Answer::Choice::tokenizer() const {
  return text_->has_tokenizer() ? &text_->tokenizer() : nullptr;
}

void Answer::Choice::on_start(const StartEvent& event) {
  if (started_ns_ != 0) return;  // again after a preemption
  started_ns_ = answer_.setup_.clock->now_ns();
  if (index_ % options().n == 0) answer_.cached_tokens_ += event.cached_tokens;
}

void Answer::Choice::on_token(const TokenEvent& event) {
  if (ended_) return;
  if (event.prompt) {
    prompt_events_.push_back(event);
    return;
  }
  time_token();
  const bool first = record_.output.empty();
  record_.output.push_back(event.token);
  record_.logprobs.push_back(event.logprob);
  record_.logits_hash = hash_mix(record_.logits_hash, event.logits_hash);
  bool last = event.finish != FinishReason::kNone;
  Piece piece;
  piece.text = text_of(event, last);
  piece.ids = {event.token};
  if (last) finish_ = event.finish == FinishReason::kStop ? "stop" : "length";
  if (last && event.finish == FinishReason::kStop) {
    const auto& ids = options().stop_ids;
    if (std::find(ids.begin(), ids.end(), event.token) != ids.end()) stop_reason_ = event.token;
  }
  if (output_ && output_->stopped()) {
    last = true;
    finish_ = "stop";
    stop_reason_ = output_->stop();
    answer_.port_.cancel(event.id);
  }
  if (options().logprobs) {
    piece.logprobs = empty_logprobs();
    if (first && answer_.setup_.echo) add_prompt_logprobs(piece.logprobs);
    add_logprob(event, piece.logprobs);
  }
  if (last) return finish_with(piece, first);
  keep(piece);
  if (options().stream) answer_.add_event(this->event(piece, first), *this);
}

// With `last` everything that was held back comes too.
SplitText Answer::Choice::text_of(const TokenEvent& event, bool last) {
  if (!output_) return {};
  std::string text;
  // The text of a stop id is left out like a stop text; EOS has none that is shown.
  const bool hidden = event.finish == FinishReason::kStop && !options().include_stop;
  if (!hidden) text = push(event.token);
  const bool ends = last || output_->stopped();
  if (ends && !output_->stopped()) text += output_->finish().value_or("");
  return split(std::move(text), ends);
}

// Bytes that only complete what the prompt has begun are no text of the answer.
std::string Answer::Choice::push(int32_t token) {
  if (cut_bytes_ == 0) return output_->push(token).value_or("");
  const std::string bytes = tokenizer()->token_bytes(token);
  int cut = 0;
  while (cut < cut_bytes_ && static_cast<size_t>(cut) < bytes.size() &&
         (static_cast<unsigned char>(bytes[static_cast<size_t>(cut)]) & 0xC0) == 0x80) {
    ++cut;
  }
  const bool all = static_cast<size_t>(cut) == bytes.size();
  cut_bytes_ = all ? cut_bytes_ - cut : 0;
  if (all) return "";
  std::string text = output_->push(token).value_or("");
  static constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  for (; cut > 0 && text.rfind(kReplacement, 0) == 0; --cut) text.erase(0, kReplacement.size());
  return text;
}

SplitText Answer::Choice::split(std::string text, bool last) {
  if (!splitter_) return {"", std::move(text)};
  SplitText out = splitter_->push(text);
  if (last) {
    const SplitText rest = splitter_->finish();
    out.reasoning += rest.reasoning;
    out.content += rest.content;
  }
  return out;
}

OrderedJson Answer::Choice::empty_logprobs() const {
  const AnswerSetup& s = answer_.setup_;
  if (!s.options.logprobs) return nullptr;
  const OrderedJson none = OrderedJson::array();
  if (s.chat) return {{"content", none}};
  return {
      {"tokens", none}, {"token_logprobs", none}, {"top_logprobs", none}, {"text_offset", none}};
}

void Answer::Choice::add_logprob(const TokenEvent& event, OrderedJson& into) {
  const Tokenizer* t = tokenizer();
  const bool as_ids = options().tokens_as_ids;
  if (answer_.setup_.chat) {
    OrderedJson entry = chat_logprob(t, event.token, event.logprob, as_ids);
    entry["top_logprobs"] = OrderedJson::array();
    for (const TopLogprob& top : event.top) {
      entry["top_logprobs"].push_back(chat_logprob(t, top.token, top.logprob, as_ids));
    }
    into["content"].push_back(std::move(entry));
    return;
  }
  const std::string text = token_text(t, event.token, as_ids);
  into["tokens"].push_back(text);
  into["token_logprobs"].push_back(logprob_json(event.logprob));
  into["text_offset"].push_back(offset_);
  offset_ += text_length(text);
  // The token itself first: it stays where another token of the same text is among the best.
  OrderedJson best = {{text, logprob_json(event.logprob)}};
  for (const TopLogprob& top : event.top) {
    const std::string other = token_text(t, top.token, as_ids);
    if (!best.contains(other)) best[other] = logprob_json(top.logprob);
  }
  into["top_logprobs"].push_back(std::move(best));
}

// The prompt's tokens; the first has no log probability.
void Answer::Choice::add_prompt_logprobs(OrderedJson& into) {
  const auto& prompt = answer_.setup_.prompts[prompt_];
  const std::string text = token_text(tokenizer(), prompt[0], options().tokens_as_ids);
  into["tokens"].push_back(text);
  into["token_logprobs"].push_back(nullptr);
  into["top_logprobs"].push_back(nullptr);
  into["text_offset"].push_back(0);
  offset_ = text_length(text);
  std::sort(prompt_events_.begin(), prompt_events_.end(),
            [](const TokenEvent& a, const TokenEvent& b) { return a.position < b.position; });
  for (const TokenEvent& event : prompt_events_) add_logprob(event, into);
  prompt_events_.clear();
}

void Answer::Choice::keep(const Piece& piece) {
  all_.reasoning += piece.text.reasoning;
  all_.content += piece.text.content;
  if (piece.logprobs.is_null()) return;
  for (const auto& [key, list] : piece.logprobs.items()) {
    for (const auto& item : list) logprobs_[key].push_back(item);
  }
}

void Answer::Choice::add_tail(OrderedJson& choice) const {
  choice["finish_reason"] = finish_.empty() ? OrderedJson(nullptr) : OrderedJson(finish_);
  choice["stop_reason"] = stop_reason_;
}

OrderedJson Answer::Choice::event(const Piece& piece, bool first) const {
  const AnswerSetup& s = answer_.setup_;
  OrderedJson out = {{"index", index_}};
  if (s.chat) {
    OrderedJson delta = OrderedJson::object();
    if (first) delta["role"] = "assistant";
    delta["content"] = piece.text.content;
    if (splitter_ && !piece.text.reasoning.empty()) {
      delta["reasoning_content"] = delta["reasoning"] = piece.text.reasoning;
    }
    out["delta"] = std::move(delta);
  } else {
    out["text"] = (first && s.echo ? s.prompt_texts[prompt_] : "") + piece.text.content;
  }
  out["logprobs"] = piece.logprobs;
  add_tail(out);
  if (s.options.return_ids) {
    out["token_ids"] = piece.ids;
    if (first) out["prompt_token_ids"] = s.prompts[prompt_];
  }
  return out;
}

OrderedJson Answer::Choice::document() const {
  const AnswerSetup& s = answer_.setup_;
  OrderedJson out = {{"index", index_}};
  if (s.chat) {
    OrderedJson message = {{"role", "assistant"}, {"content", all_.content}};
    if (splitter_) {
      const bool none = all_.reasoning.empty();
      message["reasoning_content"] = none ? OrderedJson(nullptr) : OrderedJson(all_.reasoning);
      message["reasoning"] = message["reasoning_content"];
    }
    out["message"] = std::move(message);
  } else {
    out["text"] = (s.echo ? s.prompt_texts[prompt_] : "") + all_.content;
  }
  out["logprobs"] = logprobs_;
  add_tail(out);
  if (s.options.return_ids) {
    out["prompt_token_ids"] = s.prompts[prompt_];
    out["token_ids"] = record_.output;
  }
  if (s.options.receipt && answer_.receipt_) {
    ChoiceRecord record = record_;
    record.prompt = s.prompts[prompt_];
    out["receipt"] = answer_.receipt_(record);
  }
  return out;
}

void Answer::Choice::finish_with(const Piece& piece, bool first) {
  keep(piece);
  ended_ = true;
  record_.finish = finish_;
  if (options().stream) {
    OrderedJson last = event(piece, first);
    if (options().receipt && answer_.receipt_) {
      ChoiceRecord record = record_;
      record.prompt = answer_.setup_.prompts[prompt_];
      last["receipt"] = answer_.receipt_(record);
    }
    answer_.add_event(std::move(last), *this);
  }
  report_done(finish_.c_str());
  if (answer_.setup_.observer != nullptr) {
    ChoiceRecord record = record_;
    record.prompt = answer_.setup_.prompts[prompt_];
    answer_.setup_.observer->on_record(record);
  }
  answer_.choice_done();
}

void Answer::Choice::on_end(FinishReason reason, const std::string& what) {
  if (ended_) return;
  if (reason == FinishReason::kLength) {  // the prompt was only read
    Piece piece;
    finish_ = "length";
    if (options().logprobs) {
      piece.logprobs = empty_logprobs();
      add_prompt_logprobs(piece.logprobs);
    }
    return finish_with(piece, true);
  }
  ended_ = true;
  ApiError error{500, what, "", ""};
  if (reason == FinishReason::kCancelled) {
    error.status = 503;
    if (what.empty()) error.message = "the request was cancelled";
  } else if (reason == FinishReason::kNotFinite) {
    error.message = fmt::format("the answer is not defined: {}", what);
    error.code = "not_finite";
  }
  report_done(reason == FinishReason::kCancelled ? "abort" : "error");
  answer_.fail(error);
}

void Answer::Choice::time_token() {
  const AnswerSetup& s = answer_.setup_;
  const int64_t now = s.clock->now_ns();
  const auto seconds = [](int64_t ns) { return static_cast<double>(ns) * 1e-9; };
  if (first_ns_ == 0) {
    first_ns_ = now;
    if (started_ns_ == 0) started_ns_ = now;
    if (s.observer != nullptr) {
      s.observer->on_first_token(seconds(now - s.received_ns),
                                 seconds(started_ns_ - s.received_ns));
    }
  } else if (s.observer != nullptr) {
    s.observer->on_next_token(seconds(now - last_ns_));
  }
  last_ns_ = now;
}

void Answer::Choice::report_done(const char* finish) {
  const AnswerSetup& s = answer_.setup_;
  if (s.observer == nullptr) return;
  const auto seconds = [](int64_t from, int64_t to) {
    return from > 0 && to > from ? static_cast<double>(to - from) * 1e-9 : 0.0;
  };
  AnswerObserver::Done done;
  done.finish = finish;
  done.e2e_s = seconds(s.received_ns, s.clock->now_ns());
  done.queued_s = seconds(s.received_ns, started_ns_);
  done.prefill_s = seconds(started_ns_, first_ns_);
  done.decode_s = seconds(first_ns_, last_ns_);
  done.prompt_tokens = static_cast<int64_t>(s.prompts[prompt_].size());
  done.output_tokens = tokens();
  s.observer->on_done(done);
}

}  // namespace wingspan::serve
