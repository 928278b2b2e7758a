// What `generate` does with tokens as they come: text, streaming, stop texts, routing traces.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/prompts.h"
#include "engine/engine.h"
#include "tokenizer/text_model.h"

namespace wingspan {

// Rank 0 shows; each rank asks should_stop for its own sequences, so the state for that is apart.
class GenerateSink final : public RunSink {
 public:
  // `stream`: write text to stdout as it comes, answer by answer in the order of the prompts.
  GenerateSink(const TextModel& model, const std::vector<Prompt>& prompts,
               const std::vector<std::string>& stops, bool stream);

  void on_token(int request, int32_t token, float logprob) override;
  void on_finish(int request, FinishReason reason) override;
  void on_routing(int request, int64_t position, int layer, std::span<const int32_t> experts,
                  std::span<const float> weights) override;
  bool should_stop(int request, int32_t token) override;

  // The first error met on the way (stdout, decoding).
  Status finish();
  // The text of an answer; nothing without a tokenizer.
  std::optional<std::string> text(size_t request) const;
  Status write_routing(const std::string& path) const;

 private:
  struct Answer {
    std::unique_ptr<OutputText> text;  // shown
    std::string unshown;               // waits until earlier answers are complete
    bool done = false, headed = false;
  };
  struct Routed {
    int request;
    int64_t position;
    int layer;
    std::vector<int32_t> experts;
    std::vector<float> weights;
  };
  void show();
  std::string ids_text(int32_t token) const;

  const std::vector<Prompt>& prompts_;
  const std::vector<std::string>& stops_;
  bool stream_, has_text_;
  std::vector<Answer> answers_;
  size_t showing_ = 0;
  std::vector<Routed> routed_;
  Status status_;
};

}  // namespace wingspan
