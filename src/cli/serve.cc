// wingspan serve: the OpenAI API over the engine. Rank 0's process has the HTTP server; its rank
// takes orders from the port and brings reports to it, all others follow.
#include <fmt/format.h>

#include <chrono>
#include <fstream>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/receipts.h"
#include "cli/serve_options.h"
#include "cli/signals.h"
#include "cli/version.h"
#include "comm/mpi.h"
#include "model/kv_cache.h"
#include "model/memory.h"
#include "sched/row_budget.h"
#include "serve/api.h"
#include "serve/dashboard.h"
#include "serve/health.h"
#include "serve/metrics.h"

namespace wingspan {
namespace {

constexpr double kMaxStepAge_s = 20;

constexpr const char* kServeExamples = R"(Examples:
  wingspan serve --model models/wren --ep 8
  curl -s http://127.0.0.1:8000/v1/completions -d '{"prompt":"To be or","max_tokens":20}'
  mpirun -n 4 wingspan serve --model models/wren --port 8080
)";

// Sequences, KV positions and so the longest request, from the options and from memory.
Expected<SessionLimits> serve_limits(const ServeOptions& o, const SessionSetup& s) {
  SessionLimits limits;
  limits.prefix_cache = !o.no_prefix_cache;
  limits.max_sequences_per_rank =
      o.model.max_sequences > 0 ? o.model.max_sequences : std::clamp(256 / s.ranks, 4, 64);
  const int64_t per_token = kv_bytes_per_token(s.config, s.compute);
  const int local = s.mpi ? 1 : s.ranks;
  const int64_t bytes =
      o.kv_gb > 0 ? static_cast<int64_t>(o.kv_gb * 1e9) : kv_bytes_left(s, limits);
  int64_t tokens = bytes / local / per_token / kKvBlock * kKvBlock;
  // More than all sequences at their full length is of use to the prefix cache alone.
  if (o.kv_gb == 0) {
    const int64_t longest = o.max_model_len > 0 ? o.max_model_len : s.config.max_positions;
    const int64_t all = limits.max_sequences_per_rank * (longest + kKvBlock);
    tokens = std::min(tokens, all / kKvBlock * kKvBlock);
  }
  limits.kv_tokens_per_rank = tokens;
  const int64_t wanted = std::max<int64_t>(o.max_model_len, kKvBlock);
  if (tokens >= wanted) return limits;
  return invalid_input(fmt::format("the KV cache of a rank would hold {} positions, {} are needed",
                                   std::max<int64_t>(tokens, 0), wanted),
                       "--kv-gb",
                       "give it more memory, use fewer ranks or a smaller --max-model-len");
}

Expected<serve::SamplingDefaults> sampling_defaults(const std::string& model) {
  serve::SamplingDefaults d;
  const std::string path = model + "/generation_config.json";
  if (!real_files().exists(path)) return d;
  WS_ASSIGN(const std::string text, real_files().read_text(path, 1 << 20));
  WS_ASSIGN(const Json json, parse_json(text, path));
  WS_ASSIGN(const JsonObject o, JsonObject::from(json, path));
  WS_ASSIGN(d.temperature, o.number_or("temperature", 0, 100, d.temperature));
  WS_ASSIGN(d.top_p, o.number_or("top_p", 1e-9, 1, d.top_p));
  WS_ASSIGN(d.min_p, o.number_or("min_p", 0, 1, d.min_p));
  WS_ASSIGN(d.repetition_penalty,
            o.number_or("repetition_penalty", 1e-9, 1000, d.repetition_penalty));
  WS_ASSIGN(d.top_k, o.integer_or("top_k", 0, INT32_MAX, d.top_k));
  return d;
}

// The HTTP server and all that hangs on it, in rank 0's process.
class Front {
 public:
  static Expected<std::unique_ptr<Front>> create(const ServeOptions& o, const SessionSetup& s) {
    auto front = std::unique_ptr<Front>(new Front(o, s));
    WS_ASSIGN(TextModel text, TextModel::load(real_files(), o.model.model));
    front->text_ = std::make_shared<const TextModel>(std::move(text));
    WS_ASSIGN(front->chat_,
              serve::ChatTemplate::load(real_files(), o.model.model, o.chat_template));
    WS_ASSIGN(front->defaults_, sampling_defaults(o.model.model));
    WS_ASSIGN(front->keys_, api_keys_of(o));
    if (!o.receipts.empty()) {
      front->receipts_.open(o.receipts, std::ios::app);
      if (!front->receipts_) return io_error("cannot be written", o.receipts, "check --receipts");
    }
    return front;
  }

  // On rank 0, once the engine is there: from here on clients are answered.
  Status open(const StepLimits& limits);
  // Rank 0's steps, until the port stops them.
  Status drive(StepRunner& steps);
  void fail(const Error& error);
  void drain();

 private:
  Front(const ServeOptions& o, const SessionSetup& s)
      : options_(o),
        setup_(s),
        profile_(receipt_profile(s)),
        port_({o.max_waiting, o.queue_timeout_s, 256}, [this] { wake(); }),
        budget_(o.itl_target_ms * 1e-3, o.model.prefill_chunk) {
    if (options_.names.empty()) options_.names.push_back(s.config.name);
  }
  void wake() {
    if (http_ != nullptr) http_->post([this] { port_.drain(); });
  }
  serve::ApiOptions api_options(const StepLimits& limits) const;
  OrderedJson server_info(const StepLimits& limits) const;
  OrderedJson receipt_of(const serve::ChoiceRecord& record) const;
  serve::Health health() const {
    return serve::engine_health(port_.snapshot(), system_clock().now_ns(), kMaxStepAge_s);
  }
  void announce(const StepLimits& limits) const;
  // Orders from the port, and how many rows of prompts the next steps may read.
  struct Source final : OrderSource {
    Front& front;
    explicit Source(Front& f) : front(f) {}
    void next(Orders& orders, bool idle) override {
      front.port_.next(orders, idle);
      const int64_t rows = front.budget_.rows();
      if (rows == front.ordered_rows_) return;
      front.ordered_rows_ = orders.prompt_rows = rows;
    }
  };

  ServeOptions options_;
  const SessionSetup& setup_;
  ReceiptProfile profile_;
  std::shared_ptr<const TextModel> text_;
  serve::ChatTemplate chat_;
  serve::SamplingDefaults defaults_;
  std::vector<std::string> keys_;
  std::ofstream receipts_;
  serve::EnginePort port_;
  RowBudget budget_;
  int64_t ordered_rows_ = 0;
  bool announced_ = false;
  std::unique_ptr<serve::Metrics> metrics_;
  std::unique_ptr<serve::Dashboard> dashboard_;
  std::unique_ptr<serve::Api> api_;
  std::unique_ptr<serve::HttpServer> http_;
};

OrderedJson Front::receipt_of(const serve::ChoiceRecord& record) const {
  Receipt r;
  r.profile = profile_;
  r.id = record.id;
  r.request = record.request;
  r.request.prompt = record.prompt;
  r.result.output_ids = record.output;
  r.result.logprobs = record.logprobs;
  r.result.logits_hash = record.logits_hash;
  return receipt_to_json(r);
}

OrderedJson Front::server_info(const StepLimits& limits) const {
  return {{"model", setup_.options.model},
          {"version", version_line()},
          {"ep", setup_.ranks},
          {"transport", setup_.transport()},
          {"compute", compute_mode_name(setup_.compute)},
          {"kernel", setup_.kernels->name},
          {"max_sequences_per_rank", limits.max_sequences_per_rank},
          {"max_model_len", limits.max_positions},
          {"kv_blocks_per_rank", limits.kv_blocks_per_rank},
          {"kv_block", limits.kv_block}};
}

serve::ApiOptions Front::api_options(const StepLimits& limits) const {
  serve::ApiOptions a;
  a.names = options_.names;
  a.root = setup_.options.model;
  a.created_s = std::chrono::duration_cast<std::chrono::seconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count();
  a.limits = limits;
  if (options_.max_model_len > 0) {
    a.limits.max_positions = std::min(a.limits.max_positions, options_.max_model_len);
  }
  a.eos = setup_.config.eos;
  a.defaults = defaults_;
  a.version = version_line();
  a.server_info = server_info(a.limits);
  a.log = [](const std::string& line) { note(line); };
  return a;
}

Status Front::open(const StepLimits& limits) {
  metrics_ = std::make_unique<serve::Metrics>(options_.names[0], limits);
  dashboard_ = std::make_unique<serve::Dashboard>(server_info(limits), *metrics_);
  if (receipts_.is_open()) {
    metrics_->keep_records([this](const serve::ChoiceRecord& record) {
      receipts_ << receipt_of(record).dump() << std::endl;
    });
  }
  port_.observe([this](const StepReport& report) {
    metrics_->on_report(report);
    dashboard_->on_report(report, system_clock().now_ns());
  });
  const auto receipt = [this](const serve::ChoiceRecord& record) { return receipt_of(record); };
  api_ = std::make_unique<serve::Api>(api_options(limits), port_, text_, chat_, dashboard_.get(),
                                      receipt);
  std::vector<serve::Route> routes = api_->routes();
  for (auto& route : serve::health_routes([this] { return health(); })) {
    routes.push_back(std::move(route));
  }
  for (auto& route : dashboard_->routes()) routes.push_back(std::move(route));
  routes.push_back({"GET", "/metrics",
                    [this](const serve::HttpRequest&, const auto& reply) {
                      serve::HttpResponse response;
                      response.content_type = serve::Metrics::kContentType;
                      response.body = metrics_->text(port_.snapshot(), system_clock().now_ns());
                      reply->reply(std::move(response));
                    },
                    true, true, false});
  serve::HttpOptions http;
  http.host = options_.host;
  http.port = options_.port;
  http.api_keys = keys_;
  serve::HttpHooks hooks;
  hooks.busy = [this] { return port_.full(); };
  hooks.log = [](const serve::AccessRecord& record) { note(serve::access_line(record)); };
  WS_ASSIGN(http_, serve::HttpServer::start(http, std::move(routes), std::move(hooks)));
  announce(limits);
  return {};
}

void Front::announce(const StepLimits& limits) const {
  const int64_t positions = limits.kv_blocks_per_rank * limits.kv_block;
  note(
      fmt::format("KV cache: {} positions on each of {} ranks ({:.2f} GB in all); {} sequences of "
                  "a rank at a time, {} may wait; at most {} tokens of a request",
                  positions, limits.ranks,
                  static_cast<double>(positions * limits.ranks *
                                      kv_bytes_per_token(setup_.config, setup_.compute)) *
                      1e-9,
                  limits.max_sequences_per_rank, options_.max_waiting, limits.max_positions));
  if (!text_->has_tokenizer()) note("no tokenizer.json: prompts are token ids only");
  if (chat_.empty()) note("no chat template: /v1/chat/completions answers with an error");
  if (!keys_.empty())
    note(fmt::format("{} API keys; /health, /live and /metrics need none", keys_.size()));
}

Status Front::drive(StepRunner& steps) {
  Source source(*this);
  for (;;) {
    WS_ASSIGN(const StepReport* report, steps.step(&source));
    const StepReport& r = *report;
    int64_t most = 0;
    if (r.prompt_rows > 0) most = *std::max_element(r.rank_rows.begin(), r.rank_rows.end());
    budget_.observe(most, r.decode_rows, static_cast<double>(r.times.total_ns) * 1e-9);
    const bool last = r.last;
    port_.on_report(StepReport(r));
    if (!announced_)
      note(fmt::format("wingspan: serving {} on {}", options_.names[0], http_->url()));
    announced_ = true;  // after the first step of all ranks: it can answer now
    if (last) break;
  }
  http_->wait_idle(5);
  http_->stop();
  return {};
}

// Open streams get the error before the process ends.
void Front::fail(const Error& error) {
  port_.on_failure(error.message());
  if (http_ == nullptr) return;
  http_->wait_idle(3);
  http_->stop();
}

// The first SIGTERM: no new requests, running ones finish, then the ranks stop.
void Front::drain() {
  port_.drain_begin();
  if (http_ != nullptr) {
    http_->drain_begin();
    http_->wait_idle(options_.drain_s);
  }
  port_.stop();
}

Status serve_command(const ServeOptions& o) {
  WS_ASSIGN(const SessionSetup setup, prepare_session(o.model));
  WS_ASSIGN(const SessionLimits limits, serve_limits(o, setup));
  std::unique_ptr<Front> front;
  if (setup.speaks) {
    WS_ASSIGN(front, Front::create(o, setup));
  }
  // Other processes of an MPI run end with rank 0.
  const SignalWatch signals([&front] {
    if (front != nullptr) front->drain();
  });
  return run_session(setup, limits, [&](RankContext& rank) -> Status {
    RunSink silent;
    RunOptions run;
    run.audit_every = o.audit_every;
    WS_ASSIGN(auto steps, rank.engine.start(run, silent));
    if (rank.group.rank() != 0) {
      for (;;) {
        WS_ASSIGN(const StepReport* report, steps->step(nullptr));
        if (report->last) return {};
      }
    }
    WS_RETURN_IF_ERROR(front->open(rank.engine.limits()));
    Status driven = front->drive(*steps);
    if (!driven) front->fail(driven.error());
    return driven;
  });
}

}  // namespace

void add_serve_command(CLI::App& app, Command& selected) {
  auto* c = app.add_subcommand("serve", "Serve the OpenAI API");
  auto o = std::make_shared<ServeOptions>();
  add_serve_options(*c, *o);
  c->footer(kServeExamples);
  c->callback([o, &selected] { selected = [o] { return serve_command(*o); }; });
}

}  // namespace wingspan
