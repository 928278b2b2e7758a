// wingspan score: log likelihood of given texts, and the logits and hidden states behind it.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/prompts.h"
#include "cli/session.h"
#include "cli/table.h"
#include "tensor/safetensors.h"

namespace wingspan {
namespace {

struct ScoreOptions {
  ModelOptions model;
  PromptOptions prompts;
  std::string logits, hidden;
  bool json = false;
};

constexpr const char* kScoreExamples = R"(Examples:
  wingspan score --model models/wren --text-file README.md
  wingspan score --model models/wren --ids 0,17,42,7 --logits logits.safetensors --json
)";

// Keeps rows as [prompt] or [prompt, layer] matrices, filled by position.
class RowKeeper final : public RunSink {
 public:
  RowKeeper(const std::vector<Prompt>& prompts, const ModelConfig& config, bool logits, bool hidden)
      : vocab_(config.vocab), hidden_(config.hidden) {
    for (size_t i = 0; i < prompts.size(); ++i) {
      const size_t tokens = prompts[i].ids.size();
      if (logits) rows_[fmt::format("logits_{}", i)].resize(tokens * static_cast<size_t>(vocab_));
      if (!hidden) continue;
      for (int64_t layer = 0; layer < config.layers; ++layer) {
        rows_[fmt::format("hidden_{}_{}", i, layer)].resize(tokens * static_cast<size_t>(hidden_));
      }
    }
  }
  void on_logits(int request, int64_t position, std::span<const float> row) override {
    keep(fmt::format("logits_{}", request), position, row);
  }
  void on_hidden(int request, int64_t position, int layer, std::span<const float> row) override {
    keep(fmt::format("hidden_{}_{}", request, layer), position, row);
  }

  // The tensors whose names begin with `kind`, in the order of prompts and layers.
  Status write(const std::string& kind, int64_t width, const std::string& path,
               const std::vector<std::string>& names) const {
    std::vector<TensorToWrite> tensors;
    for (const std::string& name : names) {
      if (name.rfind(kind, 0) != 0) continue;
      const auto& row = rows_.at(name);
      tensors.push_back({name,
                         DType::kF32,
                         {static_cast<int64_t>(row.size()) / width, width},
                         std::as_bytes(std::span(row))});
    }
    return write_safetensors(real_files(), path, tensors);
  }

 private:
  void keep(const std::string& name, int64_t position, std::span<const float> row) {
    const auto found = rows_.find(name);
    if (found == rows_.end()) return;
    std::copy(row.begin(), row.end(),
              found->second.begin() + position * static_cast<int64_t>(row.size()));
  }
  int64_t vocab_, hidden_;
  std::map<std::string, std::vector<float>> rows_;
};

double nll_of(const std::vector<float>& logprobs) {
  double sum = 0;
  for (const float p : logprobs) sum -= static_cast<double>(p);
  return sum;
}

struct ScoreTotals {
  double nll = 0;
  int64_t predicted = 0;
  double per_token() const { return predicted > 0 ? nll / static_cast<double>(predicted) : 0; }
};

Status print_scores(const ScoreOptions& o, const std::vector<Prompt>& prompts,
                    const RunReport& report) {
  ScoreTotals totals;
  OrderedJson doc;
  doc["results"] = OrderedJson::array();
  Table table({"prompt", "tokens", "nll", "nll per token", "perplexity"});
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto& logprobs = report.results[i].prompt_logprobs;
    const ScoreTotals one{nll_of(logprobs), static_cast<int64_t>(logprobs.size())};
    totals.nll += one.nll;
    totals.predicted += one.predicted;
    OrderedJson values = OrderedJson::array();
    for (const float p : logprobs) values.push_back(static_cast<double>(p));
    doc["results"].push_back({{"id", prompts[i].id},
                              {"tokens", prompts[i].ids.size()},
                              {"logprobs", values},
                              {"nll", one.nll}});
    table.add({prompts[i].where, std::to_string(prompts[i].ids.size()),
               fmt::format("{:.3f}", one.nll), fmt::format("{:.4f}", one.per_token()),
               fmt::format("{:.3f}", std::exp(one.per_token()))});
  }
  doc["nll_per_token"] = totals.per_token();
  doc["perplexity"] = std::exp(totals.per_token());
  if (o.json) return print_json(doc);
  WS_RETURN_IF_ERROR(print_out(table.text()));
  WS_RETURN_IF_ERROR(print_out(fmt::format("all: nll per token {:.4f}, perplexity {:.3f}\n",
                                           totals.per_token(), std::exp(totals.per_token()))));
  return flush_out();
}

std::vector<std::string> tensor_names(size_t prompts, int64_t layers) {
  std::vector<std::string> names;
  for (size_t i = 0; i < prompts; ++i) {
    names.push_back(fmt::format("logits_{}", i));
    for (int64_t l = 0; l < layers; ++l) names.push_back(fmt::format("hidden_{}_{}", i, l));
  }
  return names;
}

Status score(const ScoreOptions& o) {
  if (o.json) quiet_notes();
  WS_ASSIGN(SessionSetup setup, prepare_session(o.model));
  WS_ASSIGN(TextModel text, TextModel::load(real_files(), o.model.model));
  WS_ASSIGN(auto prompts, read_prompts(o.prompts, text));
  std::vector<Request> requests;
  for (const Prompt& p : prompts) {
    Request r;
    r.prompt = p.ids;
    r.score = true;
    requests.push_back(std::move(r));
  }
  WS_RETURN_IF_ERROR(check_requests(setup.config, requests, prompts));
  RunOptions run;
  run.capture.logits = run.capture.prompt_logits = !o.logits.empty();
  run.capture.hidden = !o.hidden.empty();
  const bool keeps = setup.speaks;
  RowKeeper sink(prompts, setup.config, keeps && run.capture.logits, keeps && run.capture.hidden);
  RunSink silent;
  RunReport report;
  WS_RETURN_IF_ERROR(run_session(
      setup, limits_for(setup, requests, setup.ranks), [&](RankContext& rank) -> Status {
        const bool first = rank.group.rank() == 0;
        WS_ASSIGN(RunReport mine,
                  rank.engine.run(requests, run, first ? static_cast<RunSink&>(sink) : silent));
        if (first) report = std::move(mine);
        return {};
      }));
  if (!setup.speaks) return {};
  const auto names = tensor_names(prompts.size(), setup.config.layers);
  if (!o.logits.empty()) {
    WS_RETURN_IF_ERROR(sink.write("logits", setup.config.vocab, o.logits, names));
  }
  if (!o.hidden.empty()) {
    WS_RETURN_IF_ERROR(sink.write("hidden", setup.config.hidden, o.hidden, names));
  }
  return print_scores(o, prompts, report);
}

}  // namespace

void add_score_command(CLI::App& app, Command& selected) {
  auto* command = app.add_subcommand("score", "Log likelihood and perplexity of texts");
  auto options = std::make_shared<ScoreOptions>();
  ScoreOptions& o = *options;
  add_model_options(*command, o.model);
  command->add_option("--ids", o.prompts.id_lists, "token ids 1,2,3 (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--text", o.prompts.texts, "text (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--text-file", o.prompts.text_file, "file whose whole text is scored");
  command->add_option("--batch", o.prompts.batch, "JSON lines: prompt or prompt_ids, id");
  command->add_option("--logits", o.logits, "write logits_<prompt> [tokens, vocabulary]");
  command->add_option("--hidden", o.hidden, "write hidden_<prompt>_<layer> [tokens, hidden]");
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kScoreExamples);
  command->callback([options, &selected] { selected = [options] { return score(*options); }; });
}

}  // namespace wingspan
