#include "cli/generate_sink.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "cli/console.h"

namespace wingspan {

GenerateSink::GenerateSink(const TextModel& model, const std::vector<Prompt>& prompts,
                           const std::vector<std::string>& stops, bool stream)
    : prompts_(prompts),
      stops_(stops),
      stream_(stream),
      has_text_(model.has_tokenizer()),
      answers_(prompts.size()) {
  if (!has_text_) return;
  for (Answer& a : answers_) a.text = std::make_unique<OutputText>(model.tokenizer(), stops);
}

void GenerateSink::on_token(int request, int32_t token, float /*logprob*/) {
  Answer& a = answers_[static_cast<size_t>(request)];
  if (a.text == nullptr) {
    a.unshown += fmt::format("{}{}", a.unshown.empty() && !a.headed ? "" : " ", token);
    show();
    return;
  }
  auto delta = a.text->push(token);
  if (!delta) {
    if (status_) status_ = Unexpected(delta.error());
    return;
  }
  if (stream_) a.unshown += *delta;
  show();
}

void GenerateSink::on_finish(int request, FinishReason /*reason*/) {
  Answer& a = answers_[static_cast<size_t>(request)];
  if (a.text != nullptr) {
    const auto rest = a.text->finish();
    if (rest && stream_) a.unshown += *rest;
  }
  a.done = true;
  show();
}

// Answers run side by side but are read one after the other.
void GenerateSink::show() {
  if (!stream_ || !status_) return;
  while (showing_ < answers_.size()) {
    Answer& a = answers_[showing_];
    const bool several = answers_.size() > 1;
    if (!a.headed) {
      a.headed = true;
      const Prompt& p = prompts_[showing_];
      if (several) status_ = print_out(fmt::format("── {}\n", p.where));
      if (status_) status_ = print_out(p.text);
    }
    if (status_ && !a.unshown.empty()) {
      status_ = print_out(a.unshown);
      a.unshown.clear();
    }
    if (status_) status_ = flush_out();
    if (!a.done || !status_) return;
    status_ = print_out("\n");
    ++showing_;
  }
}

void GenerateSink::on_routing(int request, int64_t position, int layer,
                              std::span<const int32_t> experts, std::span<const float> weights) {
  routed_.push_back({request,
                     position,
                     layer,
                     {experts.begin(), experts.end()},
                     {weights.begin(), weights.end()}});
}

bool GenerateSink::should_stop(int request, int32_t /*token*/) {
  const Answer& a = answers_[static_cast<size_t>(request)];
  return a.text != nullptr && a.text->stopped();
}

Status GenerateSink::finish() {
  show();
  return status_;
}

std::optional<std::string> GenerateSink::text(size_t request) const {
  if (!has_text_) return std::nullopt;
  return answers_[request].text->text();
}

Status GenerateSink::write_routing(const std::string& path) const {
  std::vector<const Routed*> order;
  for (const Routed& r : routed_) order.push_back(&r);
  std::sort(order.begin(), order.end(), [](const Routed* a, const Routed* b) {
    return std::tie(a->request, a->position, a->layer) <
           std::tie(b->request, b->position, b->layer);
  });
  return real_files().write_atomically(path, [&](FileSink& sink) -> Status {
    for (const Routed* r : order) {
      WS_RETURN_IF_ERROR(sink.write(
          fmt::format(R"({{"prompt":{},"position":{},"layer":{},"experts":[{}],"weights":[{}]}})"
                      "\n",
                      r->request, r->position, r->layer, fmt::join(r->experts, ","),
                      fmt::join(r->weights, ","))));
    }
    return {};
  });
}

}  // namespace wingspan
