// wingspan generate: prompts -> text, ids, log probabilities, loads and routing.
#include <fmt/format.h>

#include <map>
#include <tuple>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/generate_sink.h"
#include "cli/prompts.h"
#include "cli/session.h"

namespace wingspan {
namespace {

struct GenerateOptions {
  ModelOptions model;
  PromptOptions prompts;
  int64_t max_tokens = 64;
  SamplingParams sampling;
  bool ignore_eos = false;
  std::vector<std::string> stops;
  bool logprobs = false;
  bool json = false;
  std::string record_load;
  int64_t load_window = 0;
  std::string trace_routing;
};

constexpr const char* kGenerateExamples = R"(Examples:
  wingspan generate --model models/wren --prompt "Es war einmal" --max-tokens 40
  wingspan generate --model models/wren --ep 8 --prompt-ids 0,17,42 --ignore-eos --json
  mpirun -n 2 wingspan generate --model models/wren --prompt "def main():"
)";

void add_options(CLI::App& app, GenerateOptions& o) {
  add_model_options(app, o.model);
  app.add_option("--prompt", o.prompts.texts, "prompt text (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--prompt-file", o.prompts.text_file, "file whose whole text is the prompt");
  app.add_option("--prompt-ids", o.prompts.id_lists, "token ids 1,2,3 (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--batch", o.prompts.batch,
                 "JSON lines: prompt, prompt_ids or messages; max_tokens, seed, id");
  app.add_flag("--chat", o.prompts.chat, "apply the model's chat template");
  app.add_option("--max-tokens", o.max_tokens, "tokens to generate for each prompt")
      ->check(CLI::Range(int64_t{0}, int64_t{INT32_MAX}))
      ->capture_default_str();
  app.add_option("--temperature", o.sampling.temperature, "0: greedy")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  app.add_option("--top-p", o.sampling.top_p, "least set of tokens with this probability")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  app.add_option("--top-k", o.sampling.top_k, "most likely tokens to draw from; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{INT32_MAX}))
      ->capture_default_str();
  app.add_flag("--ignore-eos", o.ignore_eos, "go on after the end-of-sequence token");
  app.add_option("--stop", o.stops, "end before this text (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("--logprobs", o.logprobs, "log probability of each output token");
  app.add_option("--record-load", o.record_load, "write the expert loads (wingspan-load)");
  app.add_option("--load-window", o.load_window, "steps of a window of the loads; 0: one window")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--trace-routing", o.trace_routing,
                 "write experts and weights by prompt, position, layer (JSON lines)");
  app.add_flag("--json", o.json, "one JSON document on stdout");
  app.footer(kGenerateExamples);
}

std::vector<Request> make_requests(const GenerateOptions& o, const ModelConfig& config,
                                   const std::vector<Prompt>& prompts) {
  std::vector<Request> requests;
  for (const Prompt& p : prompts) {
    Request r;
    r.prompt = p.ids;
    r.max_tokens = p.max_tokens.value_or(o.max_tokens);
    r.sampling = o.sampling;
    r.sampling.seed = p.seed.value_or(o.model.seed);
    if (!o.ignore_eos) r.stop_ids = config.eos;
    requests.push_back(std::move(r));
  }
  return requests;
}

const char* finish_name(FinishReason reason) {
  return reason == FinishReason::kStop ? "stop" : "length";
}

OrderedJson logprob_json(const std::vector<float>& logprobs) {
  OrderedJson out = OrderedJson::array();
  for (const float p : logprobs) out.push_back(static_cast<double>(p));
  return out;
}

OrderedJson result_json(const GenerateOptions& o, const Prompt& prompt, const RequestResult& r,
                        const std::optional<std::string>& text) {
  OrderedJson out;
  out["id"] = prompt.id;
  out["prompt_ids"] = prompt.ids;
  out["output_ids"] = r.output_ids;
  out["logprobs"] = o.logprobs ? logprob_json(r.logprobs) : OrderedJson(nullptr);
  out["text"] = text ? OrderedJson(*text) : OrderedJson(nullptr);
  out["finish_reason"] = finish_name(r.finish);
  return out;
}

double per_second(int64_t tokens, double s) { return s > 0 ? static_cast<double>(tokens) / s : 0; }

struct Outcome {
  int max_sequences = 0;  // of a rank at a time
  RunReport report;
  double load_s = 0;
  BalanceSummary balance;
};

// Tokens of decode steps: the first of each answer comes from a prefill step.
int64_t decode_tokens(const RunReport& report) {
  int64_t n = 0;
  for (const auto& r : report.results)
    n += std::max<int64_t>(0, static_cast<int64_t>(r.output_ids.size()) - 1);
  return n;
}

OrderedJson document(const GenerateOptions& o, const SessionSetup& setup,
                     const std::vector<Prompt>& prompts, const Outcome& outcome,
                     GenerateSink& sink) {
  const RunReport& report = outcome.report;
  OrderedJson doc;
  doc["model"] = setup.config.name;
  doc["ep"] = setup.ranks;
  doc["transport"] = setup.transport();
  doc["compute"] = compute_mode_name(setup.compute);
  doc["kernel"] = setup.kernels->name;
  doc["results"] = OrderedJson::array();
  for (size_t i = 0; i < prompts.size(); ++i) {
    doc["results"].push_back(result_json(o, prompts[i], report.results[i], sink.text(i)));
  }
  doc["usage"] = {{"prompt_tokens", report.prompt_tokens},
                  {"completion_tokens", report.completion_tokens}};
  const double prefill_s = static_cast<double>(report.prefill.total_ns) * 1e-9;
  const double decode_s = static_cast<double>(report.decode.total_ns) * 1e-9;
  doc["timing"] = {{"load_s", outcome.load_s},
                   {"prefill_s", prefill_s},
                   {"decode_s", decode_s},
                   {"prefill_tokens_per_s", per_second(report.prompt_tokens, prefill_s)},
                   {"decode_tokens_per_s", per_second(decode_tokens(report), decode_s)}};
  doc["max_sequences_per_rank"] = outcome.max_sequences;
  doc["balance"] = {{"balancedness", outcome.balance.balancedness},
                    {"max_rank_load", outcome.balance.max_rank_load},
                    {"mean_rank_load", outcome.balance.mean_rank_load}};
  return doc;
}

Status print_summary(const GenerateOptions& o, const SessionSetup& setup, const Outcome& outcome) {
  const RunReport& report = outcome.report;
  if (o.logprobs) {
    for (size_t i = 0; i < report.results.size(); ++i) {
      std::string line = fmt::format("logprobs {}:", i);
      for (const float p : report.results[i].logprobs) line += fmt::format(" {}", p);
      WS_RETURN_IF_ERROR(print_out(line + "\n"));
    }
  }
  const double prefill_s = static_cast<double>(report.prefill.total_ns) * 1e-9;
  const double decode_s = static_cast<double>(report.decode.total_ns) * 1e-9;
  note(
      fmt::format("{} prompt tokens at {:.0f}/s, {} new tokens, decoded at {:.0f}/s; loaded in "
                  "{:.2f} s; balancedness {:.3f} over {} ranks",
                  report.prompt_tokens, per_second(report.prompt_tokens, prefill_s),
                  report.completion_tokens, per_second(decode_tokens(report), decode_s),
                  outcome.load_s, outcome.balance.balancedness, setup.ranks));
  return flush_out();
}

Status write_files(const GenerateOptions& o, const SessionSetup& setup, Outcome& outcome,
                   const GenerateSink& sink) {
  outcome.report.load.model = setup.config.name;
  if (!o.record_load.empty()) {
    WS_RETURN_IF_ERROR(write_load(real_files(), o.record_load, outcome.report.load));
  }
  if (!o.trace_routing.empty()) WS_RETURN_IF_ERROR(sink.write_routing(o.trace_routing));
  return {};
}

Status generate(const GenerateOptions& o) {
  if (o.json) quiet_notes();
  WS_ASSIGN(SessionSetup setup, prepare_session(o.model));
  WS_ASSIGN(TextModel text, TextModel::load(real_files(), o.model.model));
  WS_ASSIGN(auto prompts, read_prompts(o.prompts, text));
  if (!o.stops.empty() && !text.has_tokenizer()) {
    return invalid_input("--stop needs a model with tokenizer.json", o.model.model);
  }
  for (const std::string& stop : o.stops) {
    if (stop.empty()) return invalid_input("the stop text is empty", "--stop");
  }
  const auto requests = make_requests(o, setup.config, prompts);
  WS_RETURN_IF_ERROR(check_requests(setup.config, requests, prompts));
  RunOptions run;
  run.capture.routing = !o.trace_routing.empty();
  run.load_window_steps = o.load_window;
  GenerateSink sink(text, prompts, o.stops, !o.json && setup.speaks);
  Outcome outcome;
  const SessionLimits limits = limits_for(setup, requests, setup.ranks);
  outcome.max_sequences = limits.max_sequences_per_rank;
  WS_RETURN_IF_ERROR(run_session(setup, limits, [&](RankContext& rank) -> Status {
    WS_ASSIGN(RunReport report, rank.engine.run(requests, run, sink));
    if (rank.group.rank() != 0) return {};
    outcome.report = std::move(report);
    outcome.load_s = rank.load_s;
    return {};
  }));
  if (setup.mpi && !setup.speaks) return {};
  WS_RETURN_IF_ERROR(sink.finish());
  if (!setup.config.moe_layers().empty() && !outcome.report.load.windows.empty()) {
    WS_ASSIGN(outcome.balance, summarize_balance(setup.placement, outcome.report.load));
  }
  WS_RETURN_IF_ERROR(write_files(o, setup, outcome, sink));
  if (o.json) return print_json(document(o, setup, prompts, outcome, sink));
  return print_summary(o, setup, outcome);
}

}  // namespace

void add_generate_command(CLI::App& app, Command& selected) {
  auto* command = app.add_subcommand("generate", "Continue prompts");
  auto options = std::make_shared<GenerateOptions>();
  add_options(*command, *options);
  command->callback([options, &selected] { selected = [options] { return generate(*options); }; });
}

}  // namespace wingspan
