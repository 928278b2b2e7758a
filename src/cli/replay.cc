// wingspan replay: makes the answer of a receipt again, on one rank, and compares.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/receipts.h"
#include "cli/session.h"

namespace wingspan {
namespace {

struct ReplayReceiptOptions {
  std::string file, kernel = "auto";
  std::string model;
  int line = 1;
  bool json = false;
};

constexpr const char* kReplayExamples = R"(Examples:
  wingspan serve --model models/wren --ep 8 --receipts receipts.jsonl
  wingspan replay receipts.jsonl --line 3
  wingspan replay receipt.json --model models/wren
)";

// The file is one receipt, or one a line.
Expected<Receipt> read_receipt(const ReplayReceiptOptions& o) {
  WS_ASSIGN(const std::string text, real_files().read_text(o.file, uint64_t{1} << 30));
  const auto whole = parse_json(text, o.file);
  if (whole) return receipt_from_json(*whole, o.file);
  size_t begin = 0;
  for (int line = 1; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (line == o.line) {
      const std::string where = fmt::format("{}:{}", o.file, line);
      WS_ASSIGN(const Json json, parse_json(text.substr(begin, end - begin), where));
      return receipt_from_json(json, where);
    }
    begin = end + 1;
  }
  return invalid_input(fmt::format("there is no line {}", o.line), o.file, "give --line");
}

// The index of the first output token that differs, in id or log probability; −1: none does.
int64_t first_difference(const RequestResult& was, const RequestResult& now) {
  const size_t n = std::max(was.output_ids.size(), now.output_ids.size());
  for (size_t i = 0; i < n; ++i) {
    if (i >= was.output_ids.size() || i >= now.output_ids.size()) return static_cast<int64_t>(i);
    if (was.output_ids[i] != now.output_ids[i]) return static_cast<int64_t>(i);
    if (i < was.logprobs.size() &&
        std::bit_cast<uint32_t>(was.logprobs[i]) != std::bit_cast<uint32_t>(now.logprobs[i])) {
      return static_cast<int64_t>(i);
    }
  }
  return -1;
}

Status compare(const ReplayReceiptOptions& o, const Receipt& receipt, const RequestResult& now) {
  const RequestResult& was = receipt.result;
  const int64_t at = first_difference(was, now);
  const bool equal = at < 0 && was.logits_hash == now.logits_hash;
  if (o.json) {
    WS_RETURN_IF_ERROR(
        print_json({{"id", receipt.id},
                    {"equal", equal},
                    {"tokens", now.output_ids.size()},
                    {"first_difference", at < 0 ? OrderedJson(nullptr) : OrderedJson(at)},
                    {"output_ids", now.output_ids}}));
  } else if (equal) {
    WS_RETURN_IF_ERROR(print_out(
        fmt::format("equal: {} tokens and all bits of their logits\n", now.output_ids.size())));
    WS_RETURN_IF_ERROR(flush_out());
  }
  if (equal) return {};
  const auto token = [](const RequestResult& r, int64_t i) {
    const bool there = i >= 0 && i < static_cast<int64_t>(r.output_ids.size());
    return there ? std::to_string(r.output_ids[static_cast<size_t>(i)]) : std::string("none");
  };
  if (at < 0) {
    return failed(fmt::format("the {} tokens are equal, the logits behind them are not",
                              now.output_ids.size()),
                  o.file, "compare the builds with wingspan verify");
  }
  return failed(fmt::format("output token {} differs: the receipt has {}, the replay {}", at,
                            token(was, at), token(now, at)),
                o.file, "compare the builds with wingspan verify");
}

Status replay_receipt(const ReplayReceiptOptions& o) {
  if (o.json) quiet_notes();
  WS_ASSIGN(Receipt receipt, read_receipt(o));
  ModelOptions options;
  options.model = o.model.empty() ? receipt.profile.model : o.model;
  options.compute = receipt.profile.compute;
  options.kernel = o.kernel;
  options.transport = "loopback";
  WS_ASSIGN(const SessionSetup setup, prepare_session(options));
  const ReceiptProfile here = receipt_profile(setup);
  if (here.digest != receipt.profile.digest) {
    return invalid_input(fmt::format("{} is not the model of the receipt: its digest is {:016x}, "
                                     "the receipt's {:016x}",
                                     options.model, here.digest, receipt.profile.digest),
                         o.file, "give the receipt's model with --model");
  }
  if (here.contract != receipt.profile.contract) {
    return invalid_input(fmt::format("this build has numeric contract {}, the receipt {}",
                                     here.contract, receipt.profile.contract),
                         o.file, "replay it with a build of that contract");
  }
  // What a stop text ended ends here by its length.
  receipt.request.max_tokens = static_cast<int64_t>(receipt.result.output_ids.size());
  WS_RETURN_IF_ERROR(check_request(setup.config, receipt.request));
  const std::vector<Request> requests = {receipt.request};
  RequestResult now;
  WS_RETURN_IF_ERROR(
      run_session(setup, limits_for(setup, requests, 1), [&](RankContext& rank) -> Status {
        RunSink silent;
        WS_ASSIGN(RunReport report, rank.engine.run(requests, {}, silent));
        now = std::move(report.results[0]);
        return {};
      }));
  return compare(o, receipt, now);
}

}  // namespace

void add_replay_receipt_command(CLI::App& app, Command& selected) {
  auto* c = app.add_subcommand("replay", "Make the answer of a receipt again and compare all bits");
  auto o = std::make_shared<ReplayReceiptOptions>();
  c->add_option("receipt", o->file, "a receipt, or a file with one a line")->required();
  c->add_option("--line", o->line, "which line of the file")
      ->check(CLI::Range(1, INT32_MAX))
      ->capture_default_str();
  c->add_option("--model", o->model, "the model's directory; default: the receipt's");
  c->add_option("--kernel", o->kernel, "auto, reference, portable or avx512")
      ->check(CLI::IsMember({"auto", "reference", "portable", "avx512"}))
      ->capture_default_str();
  c->add_flag("--json", o->json, "one JSON document on stdout");
  c->footer(kReplayExamples);
  c->callback([o, &selected] { selected = [o] { return replay_receipt(*o); }; });
}

}  // namespace wingspan
