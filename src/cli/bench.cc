// wingspan bench: prefill and decode over batch sizes and EP widths, beside what the machine could
// do.
#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "cli/bench_load.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/lists.h"
#include "cli/synthetic.h"
#include "cli/table.h"
#include "cli/version.h"
#include "cli/width_run.h"
#include "kernels/machine_probe.h"
#include "model/memory.h"

namespace wingspan {
namespace {

struct BenchOptions {
  ModelOptions model;
  std::string synthetic, batches = "1,4,16", widths = "1";
  int64_t vocab = 32768, prompt_tokens = 64, decode_tokens = 16;
  int rounds = 3;
  bool loading = false, json = false;
};

constexpr const char* kBenchExamples = R"(Examples:
  wingspan bench --model models/wren --batch 1,16,64 --ep 1,8,64
  wingspan bench --synthetic 4,512,64,8,256 --batch 1,16
)";

struct Spread {
  double median = 0, least = 0, most = 0;
};
Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

// Samples of one phase, each beside the limit at its moment.
struct Phase {
  Spread tokens_per_s, limit, of_limit;
};

struct Cell {
  int max_sequences = 0;  // of a rank at a time
  int ranks = 1;
  int64_t batch = 1;
  double load_s = 0;  // of the width's experts
  Phase prefill, decode;
  StepTimes parts;  // decode, of the last round
};

// Weights and operations of one step that has `rows` rows of which `distinct` (expert, layer) pairs
// get some; `attended`: positions that its rows attend to, in all.
struct Work {
  double bytes = 0, flops = 0;
};
Work step_work(const SessionSetup& s, int ranks, double rows, double heads_rows, double distinct,
               double kv_tokens, double attended) {
  const ModelConfig& c = s.config;
  const ParameterCount n = count_parameters(c);
  const double head = static_cast<double>(c.vocab * c.hidden);
  const auto embedding =
      static_cast<double>(c.vocab * c.hidden) * static_cast<double>(dtype_size(s.checkpoint_dtype));
  const double shared =
      static_cast<double>(shared_weight_bytes(c, s.compute, s.checkpoint_dtype)) - embedding;
  Work w;
  // A rank without rows reads nothing.
  w.bytes = shared * std::min(static_cast<double>(ranks), rows) +
            distinct * static_cast<double>(expert_bytes(c, s.compute, s.checkpoint_dtype)) +
            kv_tokens * static_cast<double>(kv_bytes_per_token(c, s.compute));
  // Scores over latent and rope, sums of values over latent.
  const MlaConfig& m = c.mla;
  const auto position = static_cast<double>(c.layers * m.heads * (2 * m.kv_lora + m.rope));
  w.flops = 2 * (rows * (static_cast<double>(n.active_per_token) - head) + heads_rows * head +
                 attended * position);
  return w;
}

double limit_seconds(const SessionSetup& s, const Work& w, const MachineSpeeds& m) {
  const double peak = s.compute == ComputeMode::kF32 ? m.f32_flops_per_s : m.bf16_flops_per_s;
  return std::max(w.bytes / m.read_bytes_per_s, w.flops / peak);
}

// Steps of `rows` tokens that do `work`.
Phase phase_of(const SessionSetup& s, const std::vector<double>& samples,
               const std::vector<MachineSpeeds>& speeds, double rows, const Work& work) {
  std::vector<double> limits, shares;
  for (size_t i = 0; i < samples.size(); ++i) {
    limits.push_back(rows / limit_seconds(s, work, speeds[i]));
    shares.push_back(samples[i] / limits.back());
  }
  return {spread_of(samples), spread_of(limits), spread_of(shares)};
}

// Distinct experts that the steps of one kind activate, mean per step, from a run that records each
// step.
double distinct_experts(const Load& load, int64_t first, int64_t last) {
  double sum = 0, steps = 0;
  for (const LoadWindow& w : load.windows) {
    if (w.first_step < first || w.first_step >= last) continue;
    ++steps;
    for (const auto& layer : w.load) {
      sum += static_cast<double>(
          std::count_if(layer.begin(), layer.end(), [](int64_t n) { return n > 0; }));
    }
  }
  return steps > 0 ? sum / steps : 0;
}

// What rank 0 saw of one batch size.
struct Samples {
  RunReport counted;  // records each step's load; also warms up
  std::vector<double> prefill, decode;
  std::vector<MachineSpeeds> speeds;  // of the same rounds
  StepTimes parts;
  int max_sequences = 0;  // of a rank at a time
};

void add_sample(const RunReport& run, size_t requests, const MachineSpeeds& speeds, Samples& to) {
  const auto per_second = [](int64_t tokens, const StepTimes& t) {
    return static_cast<double>(tokens) /
           (static_cast<double>(std::max<int64_t>(1, t.total_ns)) * 1e-9);
  };
  to.prefill.push_back(per_second(run.prompt_tokens, run.prefill));
  to.decode.push_back(
      per_second(run.completion_tokens - static_cast<int64_t>(requests), run.decode));
  to.speeds.push_back(speeds);
  to.parts = run.decode;
}

Cell make_cell(const BenchOptions& o, const SessionSetup& s, const Samples& samples, int ranks,
               int64_t batch) {
  Cell cell;
  cell.ranks = ranks;
  cell.batch = batch;
  cell.parts = samples.parts;
  const RunReport& counted = samples.counted;
  const auto prefill_steps = std::max<int64_t>(1, counted.prefill.steps);
  const int64_t all_steps = prefill_steps + counted.decode.steps;
  const int64_t first = counted.load.windows.empty() ? 0 : counted.load.windows[0].first_step;
  // Sequences that wait are not in a step: the limit is that of the steps as they are.
  const double rows =
      std::min(static_cast<double>(batch), static_cast<double>(ranks) * samples.max_sequences);
  const double kv =
      rows * (static_cast<double>(o.prompt_tokens) + static_cast<double>(o.decode_tokens) / 2);
  const Work d =
      step_work(s, ranks, rows, rows,
                distinct_experts(counted.load, first + prefill_steps, first + all_steps), kv, kv);
  cell.decode = phase_of(s, samples.decode, samples.speeds, rows, d);
  const double step_rows = static_cast<double>(batch) * static_cast<double>(o.prompt_tokens) /
                           static_cast<double>(prefill_steps);
  const Work p = step_work(s, ranks, step_rows,
                           static_cast<double>(batch) / static_cast<double>(prefill_steps),
                           distinct_experts(counted.load, first, first + prefill_steps), 0,
                           step_rows * static_cast<double>(o.prompt_tokens + 1) / 2);
  cell.prefill = phase_of(s, samples.prefill, samples.speeds, step_rows, p);
  return cell;
}

// All batch sizes of one width in one start of the ranks, their rounds interleaved.
Status measure_width(const BenchOptions& o, const SessionSetup& base,
                     const std::shared_ptr<const ModelHost>& host, MachineProbe* probe, int ranks,
                     const std::vector<int64_t>& batches, std::vector<Cell>& cells) {
  const SessionSetup s = width_setup(base, ranks);
  std::vector<std::vector<Request>> requests;
  size_t largest = 0;
  for (const int64_t batch : batches) {
    requests.push_back(
        random_requests(s.config, static_cast<int>(batch), o.prompt_tokens, o.decode_tokens, 11));
    if (requests.back().size() > requests[largest].size()) largest = requests.size() - 1;
  }
  std::vector<Samples> samples(batches.size());
  const SessionLimits limits = limits_for(s, requests[largest], s.ranks);
  double load_s = 0;
  WS_RETURN_IF_ERROR(run_ranks(s, host, limits, [&](RankContext& rank) -> Status {
    RunSink silent;
    const bool first = rank.group.rank() == 0;
    if (first) load_s = rank.load_s;
    for (int round = -1; round < o.rounds; ++round) {
      for (size_t b = 0; b < batches.size(); ++b) {
        RunOptions run;
        run.load_window_steps = round < 0 ? 1 : 0;
        // The other ranks sleep meanwhile; MPI processes would not.
        if (first && !s.mpi && round >= 0) probe->measure();
        WS_ASSIGN(RunReport report, rank.engine.run(requests[b], run, silent));
        if (!first) continue;
        if (round >= 0) {
          add_sample(report, requests[b].size(), probe->speeds(), samples[b]);
        } else {
          samples[b].counted = std::move(report);
        }
      }
    }
    return {};
  }));
  if (!s.speaks) return {};
  for (size_t b = 0; b < batches.size(); ++b) {
    samples[b].max_sequences = limits.max_sequences_per_rank;
    cells.push_back(make_cell(o, s, samples[b], s.ranks, batches[b]));
    cells.back().load_s = load_s;
    cells.back().max_sequences = limits.max_sequences_per_rank;
  }
  return {};
}

OrderedJson spread_json(const Spread& x) {
  return {{"median", x.median}, {"min", x.least}, {"max", x.most}};
}

void add_phase(OrderedJson& row, const std::string& name, const Phase& p) {
  row[name + "_tokens_per_s"] = spread_json(p.tokens_per_s);
  row[name + "_limit_tokens_per_s"] = p.limit.median;
  row[name + "_of_limit"] = spread_json(p.of_limit);
}

std::string spread_text(const Spread& s) {
  return fmt::format("{:.0f} ({:.0f}–{:.0f})", s.median, s.least, s.most);
}

Status print_cells(const BenchOptions& o, const SessionSetup& s, const MachineSpeeds& start,
                   double host_load_s, const LoadSpeed& loading, const std::vector<Cell>& cells) {
  Table table({"EP", "batch", "prefill tokens/s", "of limit", "decode tokens/s", "of limit",
               "attention", "dispatch", "GroupGEMM", "combine"});
  OrderedJson rows = OrderedJson::array();
  for (const Cell& c : cells) {
    const double total = static_cast<double>(std::max<int64_t>(1, c.parts.total_ns));
    const auto share = [&](int64_t ns) {
      return fmt::format("{:.0f} %", 100 * static_cast<double>(ns) / total);
    };
    table.add(
        {std::to_string(c.ranks), std::to_string(c.batch), spread_text(c.prefill.tokens_per_s),
         fmt::format("{:.2f}", c.prefill.of_limit.median), spread_text(c.decode.tokens_per_s),
         fmt::format("{:.2f}", c.decode.of_limit.median), share(c.parts.attention_ns),
         share(c.parts.dispatch_ns), share(c.parts.group_gemm_ns), share(c.parts.combine_ns)});
    rows.push_back({{"ep", c.ranks},
                    {"batch", c.batch},
                    {"max_sequences_per_rank", c.max_sequences},
                    {"load_s", c.load_s}});
    add_phase(rows.back(), "prefill", c.prefill);
    add_phase(rows.back(), "decode", c.decode);
    rows.back()["decode_ms"] = {{"attention", static_cast<double>(c.parts.attention_ns) * 1e-6},
                                {"router", static_cast<double>(c.parts.router_ns) * 1e-6},
                                {"dispatch", static_cast<double>(c.parts.dispatch_ns) * 1e-6},
                                {"group_gemm", static_cast<double>(c.parts.group_gemm_ns) * 1e-6},
                                {"combine", static_cast<double>(c.parts.combine_ns) * 1e-6},
                                {"shared", static_cast<double>(c.parts.shared_ns) * 1e-6},
                                {"head", static_cast<double>(c.parts.head_ns) * 1e-6},
                                {"commit", static_cast<double>(c.parts.commit_ns) * 1e-6},
                                {"total", total * 1e-6}};
  }
  if (o.json) {
    OrderedJson doc = {{"model", s.config.name},
                       {"kernel", s.kernels->name},
                       {"compute", compute_mode_name(s.compute)},
                       {"variant", s.kernels->variant},
                       {"transport", s.transport()},
                       {"threads", s.options.threads},
                       {"prompt_tokens", o.prompt_tokens},
                       {"decode_tokens", o.decode_tokens},
                       {"host_load_s", host_load_s},
                       {"probe",
                        {{"read_gb_s", start.read_bytes_per_s * 1e-9},
                         {"peak_gflop_s", start.f32_flops_per_s * 1e-9},
                         {"peak_bf16_gflop_s", start.bf16_flops_per_s * 1e-9}}}};
    if (loading.bytes > 0) {
      const Spread load = spread_of(loading.gb_per_s);
      doc["load"] = {{"bytes", loading.bytes},
                     {"gb_per_s", spread_json(load)},
                     {"read_and_copy_gb_per_s", spread_of(loading.read_copy).median}};
    }
    doc["rows"] = rows;
    return print_json(doc);
  }
  WS_RETURN_IF_ERROR(print_out(fmt::format(
      "{}, kernels {} ({}), compute {}, {} threads; at the start this machine reads {:.1f} GB/s "
      "and "
      "multiplies at "
      "{:.0f} GFLOP/s (BF16 {:.0f})\n\n{}\nMedian (least–most) of {} rounds. The limit counts the "
      "weights that a step must read (experts that get no token are not read) and its "
      "multiplications, at the speeds that the machine had beside each sample.\n",
      s.config.name, s.kernels->name, s.kernels->variant, compute_mode_name(s.compute),
      s.options.threads, start.read_bytes_per_s * 1e-9, start.f32_flops_per_s * 1e-9,
      start.bf16_flops_per_s * 1e-9, table.text(), o.rounds)));
  return flush_out();
}

Expected<SessionSetup> prepare(const BenchOptions& o) {
  if (o.synthetic.empty() == o.model.model.empty()) {
    return invalid_input("give either --model or --synthetic", "bench",
                         "see wingspan bench --help");
  }
  if (o.loading && !o.synthetic.empty()) {
    return invalid_input("--loading needs the files of a model", "--loading",
                         "give --model instead of --synthetic");
  }
  if (o.synthetic.empty()) return prepare_session(o.model);
  WS_ASSIGN(ModelConfig config, synthetic_config(o.synthetic, o.vocab));
  ModelOptions options = o.model;
  options.model = "--synthetic";
  return prepare_session(options, std::move(config), synthetic_source(DType::kBF16, 1));
}

Status bench(const BenchOptions& o) {
  if (o.json) quiet_notes();
  WS_ASSIGN(auto batches, parse_numbers(o.batches, "--batch", 1, 4096));
  WS_ASSIGN(auto widths, parse_numbers(o.widths, "--ep", 1, kMaxRanks));
  WS_ASSIGN(SessionSetup s, prepare(o));
  if (s.mpi) widths = {s.ranks};
  const int64_t largest = *std::max_element(batches.begin(), batches.end());
  const auto requests =
      random_requests(s.config, static_cast<int>(largest), o.prompt_tokens, o.decode_tokens, 11);
  WS_RETURN_IF_ERROR(check_request(s.config, requests[0]));
  Pool probe_pool(s.speaks ? s.options.threads : 1);
  std::unique_ptr<MachineProbe> probe;
  MachineSpeeds start;
  if (s.speaks) {
    note("measuring this machine");
    probe = std::make_unique<MachineProbe>(*s.kernels, probe_pool);
    probe->measure();  // warms up
    probe->measure();
    start = probe->speeds();
  }
  LoadSpeed loading;
  if (o.loading && s.speaks) {
    note("loading");
    WS_ASSIGN(loading, measure_loading(s, o.rounds));
  }
  const int64_t begin = system_clock().now_ns();
  WS_ASSIGN(auto host, load_session(s, limits_for(s, requests, s.mpi ? s.ranks : 1)));
  const double host_load_s = seconds(begin, system_clock().now_ns());
  std::vector<Cell> cells;
  for (const int64_t ranks : widths) {
    if (s.speaks) note(fmt::format("EP {}", ranks));
    WS_RETURN_IF_ERROR(
        measure_width(o, s, host, probe.get(), static_cast<int>(ranks), batches, cells));
  }
  if (!s.speaks) return {};
  return print_cells(o, s, start, host_load_s, loading, cells);
}

}  // namespace

void add_bench_command(CLI::App& app, Command& selected) {
  auto* command =
      app.add_subcommand("bench", "Measure prefill and decode beside the machine's limits");
  auto options = std::make_shared<BenchOptions>();
  BenchOptions& o = *options;
  add_model_options(*command, o.model, false, false);
  command->add_option("--synthetic", o.synthetic,
                      "layers,hidden,experts,top-k,moe-intermediate: random weights");
  command->add_option("--vocab", o.vocab, "vocabulary of a synthetic model")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 22))
      ->capture_default_str();
  command->add_option("--batch", o.batches, "sequences in all")->capture_default_str();
  command->add_option("--ep", o.widths, "EP widths")->capture_default_str();
  command->add_option("--prompt-tokens", o.prompt_tokens, "of each sequence")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--decode-tokens", o.decode_tokens, "of each sequence")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--rounds", o.rounds, "of which the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--loading", o.loading, "also the speed of loading --model");
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kBenchExamples);
  command->callback([options, &selected] { selected = [options] { return bench(*options); }; });
}

}  // namespace wingspan
