// wingspan verify: the promise of bit-identical answers, checked on the user's machine and model.
#include <fmt/format.h>

#include <algorithm>

#include "base/rng.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/lists.h"
#include "cli/prompts.h"
#include "cli/table.h"
#include "cli/verify_run.h"

namespace wingspan {
namespace {

struct VerifyOptions {
  ModelOptions model;
  PromptOptions prompts;
  std::string widths = "2,3,8,32";
  int64_t max_tokens = 12;
  bool full = false, json = false;
};

constexpr const char* kVerifyExamples = R"(Examples:
  wingspan verify --model models/wren
  wingspan verify --model models/wren --ep 2,4,8 --prompt "Once upon a time" --max-tokens 32 --full
  mpirun -n 2 wingspan verify --model models/wren
)";

// Random ids of lengths around the chunk and block sizes, where an engine goes wrong first.
std::vector<Prompt> drawn_prompts(const ModelConfig& config, int64_t max_tokens, uint64_t seed) {
  std::vector<Prompt> prompts;
  Rng rng(seed);
  for (const int64_t length : {1, 9, 33, 70}) {
    Prompt p;
    p.where = fmt::format("drawn prompt {}", prompts.size());
    const int64_t room = std::max<int64_t>(1, config.max_positions - max_tokens);
    for (int64_t i = 0; i < std::min(length, room); ++i) {
      p.ids.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocab))));
    }
    prompts.push_back(std::move(p));
  }
  return prompts;
}

// Every width with every placement; then one thing at a time changed; --full: the cross product.
std::vector<Variant> make_matrix(const VerifyOptions& o, const SessionSetup& setup,
                                 const std::vector<int64_t>& widths, const Variant& reference) {
  std::vector<Variant> out;
  const auto with = [&](auto change) {
    Variant v = reference;
    change(v);
    out.push_back(v);
  };
  const std::vector<std::string> placements =
      setup.config.moe_layers().empty()
          ? std::vector<std::string>{"linear"}
          : std::vector<std::string>{"linear", "shuffled", "replicated"};
  const auto batches = {BatchOrder::kTogether, BatchOrder::kAlone, BatchOrder::kReversed};
  for (const int64_t width : widths) {
    for (const auto& placement : placements) {
      with([&](Variant& v) {
        v.ranks = static_cast<int>(width);
        v.placement = placement;
      });
      if (!o.full) continue;
      for (const BatchOrder batch : batches) {
        for (const int64_t chunk : {1, 7, 64}) {
          with([&](Variant& v) {
            v.ranks = static_cast<int>(width);
            v.placement = placement;
            v.batch = batch;
            v.chunk = chunk;
          });
        }
      }
    }
  }
  const int some = static_cast<int>(*std::max_element(widths.begin(), widths.end()));
  for (const int ranks : {1, std::min(some, 8)}) {
    if (setup.mpi && ranks != setup.ranks) continue;
    for (const int64_t chunk : {1, 7, 64}) {
      with([&](Variant& v) { v.ranks = ranks, v.chunk = chunk; });
    }
    for (const BatchOrder batch : {BatchOrder::kAlone, BatchOrder::kReversed}) {
      with([&](Variant& v) { v.ranks = ranks, v.batch = batch; });
    }
    for (const int threads : {2, 4})
      with([&](Variant& v) { v.ranks = ranks, v.threads = threads; });
  }
  for (const Kernels* kernels : all_kernels()) {
    if (kernels == reference.kernels) continue;
    with([&](Variant& v) { v.kernels = kernels; });
  }
  return out;
}

// Scoring prompt and output gives the log probabilities that generating reported.
Expected<int64_t> score_bits(const SessionSetup& setup, std::shared_ptr<const ModelHost> host,
                             const Variant& reference, const std::vector<Request>& requests,
                             const Shown& shown) {
  std::vector<Request> scored;
  for (size_t i = 0; i < requests.size(); ++i) {
    Request r;
    r.prompt = requests[i].prompt;
    const auto& output = shown.results[i].output_ids;
    r.prompt.insert(r.prompt.end(), output.begin(), output.end());
    r.score = true;
    scored.push_back(std::move(r));
  }
  WS_ASSIGN(Shown again, run_variant(setup, std::move(host), reference, scored, false));
  Shown a, b;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto& all = again.results[i].prompt_logprobs;
    const auto n = static_cast<std::ptrdiff_t>(shown.results[i].logprobs.size());
    RequestResult tail;
    tail.logprobs.assign(all.end() - n, all.end());
    RequestResult generated;
    generated.logprobs = shown.results[i].logprobs;
    a.results.push_back(generated);
    b.results.push_back(tail);
  }
  return compare(a, b).differing_bits;
}

struct MatrixOutcome {
  Table table{{"configuration", "tokens", "differing bits", ""}, {0, 3}};
  OrderedJson cells = OrderedJson::array();
  int64_t configurations = 0, tokens = 0, bits = 0;
  OrderedJson first = nullptr;
  std::string first_text;

  void add(const std::string& name, int64_t compared, int64_t differing) {
    table.add({name, with_commas(compared), with_commas(differing), differing == 0 ? "=" : "≠"});
    cells.push_back({{"configuration", name}, {"tokens", compared}, {"differing_bits", differing}});
    ++configurations;
    tokens += compared;
    bits += differing;
  }
};

class Verifier {
 public:
  Verifier(const SessionSetup& setup, std::shared_ptr<const ModelHost> host,
           std::vector<Request> requests, Variant reference)
      : setup_(setup),
        host_(std::move(host)),
        requests_(std::move(requests)),
        reference_(std::move(reference)) {}

  Expected<MatrixOutcome> run(const std::vector<Variant>& matrix) {
    WS_ASSIGN(Shown shown, run_variant(setup_, host_, reference_, requests_, false));
    WS_ASSIGN(int64_t scored, score_bits(setup_, host_, reference_, requests_, shown));
    int64_t generated = 0;
    for (const auto& r : shown.results) generated += static_cast<int64_t>(r.logprobs.size());
    out_.add("score(prompt + output) against generate", generated, scored);
    for (size_t i = 0; i < matrix.size(); ++i) {
      if (setup_.speaks) note(fmt::format("[{}/{}] {}", i + 1, matrix.size(), matrix[i].name()));
      WS_ASSIGN(Shown other, run_variant(setup_, host_, matrix[i], requests_, false));
      // Only rank 0 was shown anything.
      if (!setup_.speaks) continue;
      const Difference d = compare(shown, other);
      out_.add(matrix[i].name(), d.tokens, d.differing_bits);
      if (d.first && out_.first.is_null()) WS_RETURN_IF_ERROR(explain(matrix[i], *d.first));
    }
    return std::move(out_);
  }

 private:
  Status explain(const Variant& variant, Shown::Row row) {
    out_.first = {
        {"configuration", variant.name()}, {"prompt", row.first}, {"position", row.second}};
    out_.first_text =
        fmt::format("{}, prompt {}, position {}", variant.name(), row.first, row.second);
    if (setup_.mpi) return {};  // the other processes don't know of the second run
    WS_ASSIGN(Shown a, run_variant(setup_, host_, reference_, requests_, true));
    WS_ASSIGN(Shown b, run_variant(setup_, host_, variant, requests_, true));
    const auto layer = first_differing_layer(a, b, row);
    out_.first["layer"] = layer ? OrderedJson(*layer) : OrderedJson(nullptr);
    out_.first_text += layer ? fmt::format(", layer {}", *layer) : ", after the last layer";
    return {};
  }

  const SessionSetup& setup_;
  std::shared_ptr<const ModelHost> host_;
  std::vector<Request> requests_;
  Variant reference_;
  MatrixOutcome out_;
};

Status print_outcome(const VerifyOptions& o, const SessionSetup& setup, const MatrixOutcome& out) {
  if (o.json) {
    OrderedJson doc;
    doc["model"] = setup.config.name;
    doc["transport"] = setup.transport();
    doc["compute"] = compute_mode_name(setup.compute);
    doc["configurations"] = out.cells;
    doc["tokens_compared"] = out.tokens;
    doc["differing_bits"] = out.bits;
    doc["first_difference"] = out.first;
    WS_RETURN_IF_ERROR(print_json(doc));
  } else {
    WS_RETURN_IF_ERROR(print_out(out.table.text()));
    WS_RETURN_IF_ERROR(print_out(
        fmt::format("\n{} configurations, {} tokens compared with one rank: {} differing bits\n",
                    out.configurations, with_commas(out.tokens), with_commas(out.bits))));
    WS_RETURN_IF_ERROR(flush_out());
  }
  if (out.bits == 0) return {};
  return failed(fmt::format("{} bits differ", out.bits),
                out.first_text.empty() ? "score" : "first: " + out.first_text,
                "report it with this line and --version");
}

Expected<std::vector<Request>> make_requests(const VerifyOptions& o, const SessionSetup& setup) {
  std::vector<Prompt> prompts;
  const PromptOptions& p = o.prompts;
  if (p.texts.empty() && p.id_lists.empty() && p.batch.empty() && p.text_file.empty()) {
    prompts = drawn_prompts(setup.config, o.max_tokens, o.model.seed);
  } else {
    WS_ASSIGN(TextModel text, TextModel::load(real_files(), o.model.model));
    WS_ASSIGN(prompts, read_prompts(p, text));
  }
  std::vector<Request> requests;
  for (const Prompt& prompt : prompts) {
    Request r;
    r.prompt = prompt.ids;
    r.max_tokens = o.max_tokens;
    // Half of them sampled: draws must not depend on the batch either.
    r.sampling.temperature = requests.size() % 2 == 1 ? 0.8 : 0;
    r.sampling.seed = o.model.seed + requests.size();
    requests.push_back(std::move(r));
  }
  WS_RETURN_IF_ERROR(check_requests(setup.config, requests, prompts));
  return requests;
}

Status verify(const VerifyOptions& o) {
  if (o.json) quiet_notes();
  WS_ASSIGN(auto widths, parse_numbers(o.widths, "--ep", 1, kMaxRanks));
  ModelOptions model = o.model;
  const std::string file = model.placement;
  WS_ASSIGN(SessionSetup setup, prepare_session(model));
  if (setup.mpi) widths = {setup.ranks};
  WS_ASSIGN(auto requests, make_requests(o, setup));
  Variant reference;
  reference.kernels = setup.kernels;
  reference.chunk = std::max<int64_t>(o.model.prefill_chunk, 1);
  auto matrix = make_matrix(o, setup, widths, reference);
  if (!file.empty()) {
    Variant v = reference;
    v.ranks = setup.ranks;
    v.placement = "file";
    matrix.push_back(v);
  }
  WS_ASSIGN(auto host, load_session(setup, limits_for(setup, requests, 1)));
  WS_ASSIGN(MatrixOutcome out, Verifier(setup, host, requests, reference).run(matrix));
  if (!setup.speaks) return {};
  return print_outcome(o, setup, out);
}

}  // namespace

void add_verify_command(CLI::App& app, Command& selected) {
  auto* command = app.add_subcommand(
      "verify", "Check that answers have the same bits over ranks, placements, batches and chunks");
  auto options = std::make_shared<VerifyOptions>();
  VerifyOptions& o = *options;
  add_model_options(*command, o.model, false);
  command->add_option("--ep", o.widths, "widths to compare with one rank")->capture_default_str();
  command->add_option("--prompt", o.prompts.texts, "prompt text (repeatable); default: drawn ids")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--prompt-ids", o.prompts.id_lists, "token ids 1,2,3 (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--batch", o.prompts.batch, "JSON lines with prompts");
  command->add_option("--max-tokens", o.max_tokens, "tokens to generate for each prompt")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_flag("--full", o.full, "the whole cross product");
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kVerifyExamples);
  command->callback([options, &selected] { selected = [options] { return verify(*options); }; });
}

}  // namespace wingspan
