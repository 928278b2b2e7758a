// wingspan demo: the bundled model writes in its five domains, then the same steps over four EP
// widths.
#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/demo_page.h"
#include "cli/lists.h"
#include "cli/table.h"
#include "cli/width_run.h"
#include "tokenizer/text_model.h"

namespace wingspan {
namespace {

struct DemoOptions {
  ModelOptions model;
  std::string output = "demo.html", widths = "1,8,32,64";
  int64_t max_tokens = 64;
  int batch = 1;
};

constexpr const char* kDemoExamples = R"(Example:
  wingspan demo --model models/wren --output demo.html
)";

struct Domain {
  const char* name;
  const char* prompt;
};
constexpr Domain kDomains[] = {
    {"arithmetic",
     "Question: Anna has 12 apples and buys 3 bags with 4 apples each. How many apples "
     "does she have now?\nAnswer:"},
    {"drama", "KING HENRY:\nWhat news, my lord? Speak plainly, for the night is short\n"},
    {"German", "Als er am Morgen erwachte, lag der Garten still im Nebel, und niemand"},
    {"French", "Le capitaine regarda longtemps la mer, puis il dit à ses compagnons"},
    {"Python", "def read_lines(path):\n    \"\"\"Return the lines of a file.\"\"\"\n"}};

// Streams one answer.
class Printer final : public RunSink {
 public:
  explicit Printer(const TextModel& model) : text_(model.tokenizer(), no_stops_) {}
  void on_token(int /*request*/, int32_t token, float /*logprob*/) override {
    if (auto delta = text_.push(token)) show(*delta);
  }
  void on_finish(int /*request*/, FinishReason /*reason*/) override {
    if (auto rest = text_.finish()) show(*rest);
  }
  const std::string& text() const { return text_.text(); }
  const Status& status() const { return status_; }

 private:
  void show(const std::string& delta) {
    if (status_) status_ = print_out(delta);
    if (status_) status_ = flush_out();
  }
  const std::vector<std::string> no_stops_;
  OutputText text_;
  Status status_;
};

Status write_domains(const DemoOptions& o, const SessionSetup& s,
                     const std::shared_ptr<const ModelHost>& host, const TextModel& text,
                     DemoPage& page) {
  for (const Domain& domain : kDomains) {
    Request r;
    WS_ASSIGN(r.prompt, text.encode(domain.prompt, domain.name));
    r.max_tokens = o.max_tokens;
    r.stop_ids = s.config.eos;
    WS_RETURN_IF_ERROR(print_out(fmt::format("── {}\n{}", domain.name, domain.prompt)));
    Printer printer(text);
    SessionSetup one = s;
    one.mpi = false;
    one.ranks = 1;
    one.placement = contiguous_placement(s.config.moe.router.experts, s.config.moe_layers(), 1);
    Load load;
    WS_RETURN_IF_ERROR(
        run_ranks(one, host, limits_for(one, {r}, 1), [&](RankContext& rank) -> Status {
          WS_ASSIGN(RunReport report, rank.engine.run({r}, {}, printer));
          load = std::move(report.load);
          return {};
        }));
    WS_RETURN_IF_ERROR(printer.status());
    WS_RETURN_IF_ERROR(print_out("\n\n"));
    WS_RETURN_IF_ERROR(flush_out());
    page.add_domain(domain.name, domain.prompt, printer.text(), load);
  }
  return {};
}

// The same 64 sequences over each width; their tokens and log probabilities must have the same
// bits.
Status run_widths(const DemoOptions& o, const SessionSetup& s, const std::vector<int64_t>& widths,
                  const std::shared_ptr<const ModelHost>& host, DemoPage& page, bool& identical) {
  const auto widest = static_cast<int>(*std::max_element(widths.begin(), widths.end()));
  const auto all = random_requests(s.config, o.batch * widest, 8, 9, 3);
  WS_ASSIGN(WidthRun reference, run_width(s, host, 1, all));
  for (const int64_t width : widths) {
    const int ranks = static_cast<int>(width);
    note(fmt::format("EP {}", ranks));
    // The same sequences, so that bits can be compared; of them the first batch × ranks make the
    // step that is timed.
    WS_ASSIGN(WidthRun checked, run_width(s, host, ranks, all));
    const std::vector<Request> mine(all.begin(),
                                    all.begin() + static_cast<std::ptrdiff_t>(o.batch) * ranks);
    WS_ASSIGN(WidthRun timed, run_width(s, host, ranks, mine));
    const bool same = same_bits(reference.results, checked.results);
    identical &= same;
    page.add_width(timed, o.batch, same);
  }
  return {};
}

Status demo(const DemoOptions& o) {
  const int64_t begin = system_clock().now_ns();
  WS_ASSIGN(auto widths, parse_numbers(o.widths, "--ep", 1, kMaxRanks));
  WS_ASSIGN(SessionSetup s, prepare_session(o.model));
  if (s.config.moe_layers().empty())
    return invalid_input("the model has no experts", o.model.model);
  WS_ASSIGN(TextModel text, TextModel::load(real_files(), o.model.model));
  if (!text.has_tokenizer()) {
    return invalid_input("the demo needs tokenizer.json", o.model.model, "use models/wren");
  }
  SessionLimits limits;
  limits.kv_tokens_per_rank = 1024;
  WS_ASSIGN(auto host, load_session(s, limits));
  DemoPage page(s);
  WS_RETURN_IF_ERROR(write_domains(o, s, host, text, page));
  bool identical = true;
  WS_RETURN_IF_ERROR(run_widths(o, s, widths, host, page, identical));
  WS_RETURN_IF_ERROR(print_out(page.table().text()));
  WS_RETURN_IF_ERROR(real_files().write_text(o.output, page.html()));
  WS_RETURN_IF_ERROR(print_out(fmt::format("\n{} written; {:.0f} s in all\n", o.output,
                                           seconds(begin, system_clock().now_ns()))));
  WS_RETURN_IF_ERROR(flush_out());
  if (identical) return {};
  return failed("an EP width gave other bits than one rank", "demo",
                "run wingspan verify and report what it says");
}

}  // namespace

void add_demo_command(CLI::App& app, Command& selected) {
  auto* command =
      app.add_subcommand("demo", "See it work: text in five domains, then four EP widths");
  auto options = std::make_shared<DemoOptions>();
  DemoOptions& o = *options;
  o.model.model = "models/wren";
  add_model_options(*command, o.model, false, false);
  command->add_option("--ep", o.widths, "EP widths")->capture_default_str();
  command->add_option("--output", o.output, "the page to write")->capture_default_str();
  command->add_option("--max-tokens", o.max_tokens, "tokens of each text")
      ->check(CLI::Range(int64_t{1}, int64_t{900}))
      ->capture_default_str();
  command->add_option("--batch-per-rank", o.batch, "sequences of each rank")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  command->footer(kDemoExamples);
  command->callback([options, &selected] { selected = [options] { return demo(*options); }; });
}

}  // namespace wingspan
