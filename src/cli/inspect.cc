// wingspan inspect: what a model is, and what a rank of each EP width holds.
#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/lists.h"
#include "cli/plan_inputs.h"
#include "cli/table.h"
#include "model/config.h"
#include "model/weight_source.h"
#include "placement/placement.h"
#include "plan/predict.h"

namespace wingspan {
namespace {

struct InspectOptions {
  std::string path, widths = "8,16,32,64", hardware;
  bool json = false;
};

constexpr const char* kInspectExamples = R"(Examples:
  wingspan inspect models/wren
  wingspan inspect models/wren/config.json --ep 8,32,64,72 --hardware H200 --json
)";

// The dtype of the matrices: from the files if they are there, else from the config.
DType checkpoint_dtype(const ModelConfig& config, const std::string& path) {
  const Files& files = real_files();
  if (files.is_directory(path)) {
    if (const auto source = open_checkpoint_source(files, path)) {
      if (const auto dtype = (*source)->dtype(layer_tensors(config, 0).back())) return *dtype;
    }
  }
  return config.fp8_blocks ? DType::kF8E4M3 : DType::kBF16;
}

struct Width {
  int ranks = 0;
  int least = 0, most = 0;             // experts of a rank in a layer
  int64_t expert_bytes = 0;            // of the fullest rank, all layers
  int64_t weight_bytes = 0;            // with everything that each rank holds
  double kv_bytes = 0, kv_tokens = 0;  // left on the hardware
};

struct Facts {
  ModelConfig config;
  ParameterCount count;
  DType dtype = DType::kBF16;
  int64_t total_bytes = 0, expert_bytes = 0, other_bytes = 0, kv_bytes_per_token = 0;
  std::optional<PlanGpu> hardware;
  std::vector<Width> widths;
};

Expected<Facts> gather(const InspectOptions& o) {
  Facts f;
  WS_ASSIGN(const PlanConstants constants, plan_constants(""));
  WS_ASSIGN(auto widths, parse_numbers(o.widths, "--ep", 1, 1 << 16));
  if (!o.hardware.empty()) {
    WS_ASSIGN(f.hardware, plan_gpu(o.hardware));
  }
  WS_ASSIGN(f.config, read_model_config(real_files(), o.path));
  const ModelConfig& c = f.config;
  f.count = count_parameters(c);
  f.dtype = checkpoint_dtype(c, o.path);
  f.total_bytes = checkpoint_bytes(c, f.dtype);
  f.expert_bytes = expert_checkpoint_bytes(c, f.dtype);
  const auto layers = static_cast<int64_t>(c.moe_layers().size());
  const int experts = layers > 0 ? c.moe.router.experts : 0;
  f.other_bytes = f.total_bytes - layers * experts * f.expert_bytes;
  f.kv_bytes_per_token = c.layers * (c.mla.kv_lora + c.mla.rope) * 2;
  for (const int64_t ranks : widths) {
    Width w;
    w.ranks = static_cast<int>(ranks);
    const auto slots = even_rank_slots(experts, w.ranks);
    w.least = *std::min_element(slots.begin(), slots.end());
    w.most = *std::max_element(slots.begin(), slots.end());
    w.expert_bytes = layers * w.most * f.expert_bytes;
    w.weight_bytes = f.other_bytes + w.expert_bytes;
    if (f.hardware) {
      w.kv_bytes = kv_bytes_beside(*f.hardware, constants, static_cast<double>(w.weight_bytes));
      w.kv_tokens = std::max(0.0, w.kv_bytes / static_cast<double>(f.kv_bytes_per_token));
    }
    f.widths.push_back(w);
  }
  return f;
}

const char* router_text(const RouterSpec& r) {
  if (r.scoring == Scoring::kSigmoid) return "sigmoid with correction bias";
  return "softmax";
}

OrderedJson json_of(const Facts& f) {
  const ModelConfig& c = f.config;
  const ParameterCount& n = f.count;
  const auto moe = static_cast<int64_t>(c.moe_layers().size());
  OrderedJson doc;
  doc["model"] = c.name;
  doc["family"] = c.family;
  doc["layers"] = c.layers;
  doc["dense_layers"] = c.layers - moe;
  doc["moe_layers"] = moe;
  doc["mtp_layers"] = c.mtp_layers;
  doc["hidden"] = c.hidden;
  doc["vocabulary"] = c.vocab;
  doc["max_positions"] = c.max_positions;
  doc["attention"] = {{"kind", "mla"},
                      {"heads", c.mla.heads},
                      {"q_lora", c.mla.q_lora},
                      {"kv_lora", c.mla.kv_lora},
                      {"nope", c.mla.nope},
                      {"rope", c.mla.rope},
                      {"v", c.mla.v}};
  doc["experts"] = c.moe.router.experts;
  doc["top_k"] = c.moe.router.top_k;
  doc["router"] = {{"scoring", router_text(c.moe.router)},
                   {"groups", c.moe.router.groups},
                   {"top_groups", c.moe.router.top_groups}};
  doc["expert_width"] = c.moe.expert_width;
  doc["shared_width"] = c.moe.shared_width;
  doc["dtype"] = std::string(dtype_name(f.dtype));
  doc["parameters"] = {{"total", n.total},
                       {"active_per_token", n.active_per_token},
                       {"attention", n.attention},
                       {"dense_mlp", n.dense_mlp},
                       {"routed_experts", n.routed_experts},
                       {"shared_experts", n.shared_experts},
                       {"router", n.router},
                       {"embedding_and_head", n.embedding_and_head},
                       {"norms", n.norms}};
  doc["bytes"] = {{"total", f.total_bytes},
                  {"routed_experts", f.total_bytes - f.other_bytes},
                  {"other", f.other_bytes},
                  {"one_expert", f.expert_bytes}};
  doc["kv_bytes_per_token"] = f.kv_bytes_per_token;
  doc["hardware"] = f.hardware ? OrderedJson(f.hardware->name) : OrderedJson(nullptr);
  doc["ep"] = OrderedJson::array();
  for (const Width& w : f.widths) {
    OrderedJson row = {{"ranks", w.ranks},
                       {"experts_per_rank", w.most},
                       {"experts_per_rank_least", w.least},
                       {"experts_per_rank_all_layers", w.most * moe},
                       {"expert_bytes_per_rank", w.expert_bytes},
                       {"weight_bytes_per_rank", w.weight_bytes}};
    if (f.hardware) {
      row["kv_bytes_left"] = w.kv_bytes;
      row["kv_tokens_left"] = w.kv_tokens;
    }
    doc["ep"].push_back(row);
  }
  return doc;
}

std::string billions(int64_t n) {
  const auto x = static_cast<double>(n);
  return x >= 1e9 ? fmt::format("{:.2f} B", x * 1e-9) : fmt::format("{:.2f} M", x * 1e-6);
}

std::string facts_text(const Facts& f) {
  const ModelConfig& c = f.config;
  const ParameterCount& n = f.count;
  const auto moe = static_cast<int64_t>(c.moe_layers().size());
  const RouterSpec& r = c.moe.router;
  std::string out = fmt::format("{} ({})\n", c.name.empty() ? "model" : c.name, c.family);
  out += fmt::format(
      "  layers      {} ({} dense, {} MoE, {} MTP left out), hidden {}, vocabulary {}\n", c.layers,
      c.layers - moe, moe, c.mtp_layers, c.hidden, with_commas(c.vocab));
  out += fmt::format("  attention   MLA, {} heads, latent {} + {} rotary\n", c.mla.heads,
                     c.mla.kv_lora, c.mla.rope);
  out +=
      fmt::format("  router      {}: top-{} of {} experts{}\n", router_text(r), r.top_k, r.experts,
                  r.group_score == GroupScore::kNone || r.groups == 1
                      ? ""
                      : fmt::format(", {} of {} groups kept", r.top_groups, r.groups));
  out += fmt::format("  parameters  {} in all, {} active per token\n", billions(n.total),
                     billions(n.active_per_token));
  out += fmt::format("  weights     {} as {}; one expert {}\n",
                     human_bytes(static_cast<double>(f.total_bytes)), dtype_name(f.dtype),
                     human_bytes(static_cast<double>(f.expert_bytes)));
  out += fmt::format("  KV cache    {} bytes per token (BF16, all layers)\n\n",
                     with_commas(f.kv_bytes_per_token));
  Table parts({"part", "parameters", "share"});
  const std::pair<const char*, int64_t> rows[] = {{"attention", n.attention},
                                                  {"dense MLP", n.dense_mlp},
                                                  {"routed experts", n.routed_experts},
                                                  {"shared experts", n.shared_experts},
                                                  {"router", n.router},
                                                  {"embedding and head", n.embedding_and_head},
                                                  {"norms", n.norms}};
  for (const auto& [name, value] : rows) {
    parts.add({name, with_commas(value),
               fmt::format("{:.2f} %",
                           100.0 * static_cast<double>(value) / static_cast<double>(n.total))});
  }
  return out + parts.text() + "\n";
}

std::string widths_text(const Facts& f) {
  std::vector<std::string> head = {"EP", "experts/rank", "in all layers", "expert bytes/rank",
                                   "weights/rank"};
  if (f.hardware) {
    head.push_back("left for KV on " + f.hardware->name);
    head.push_back("KV tokens");
  }
  Table table(head);
  const auto moe = static_cast<int>(f.config.moe_layers().size());
  for (const Width& w : f.widths) {
    const auto range = [&](int a, int b) {
      return a == b ? std::to_string(b) : fmt::format("{}–{}", a, b);
    };
    std::vector<std::string> row = {std::to_string(w.ranks), range(w.least, w.most),
                                    range(w.least * moe, w.most * moe),
                                    human_bytes(static_cast<double>(w.expert_bytes)),
                                    human_bytes(static_cast<double>(w.weight_bytes))};
    if (f.hardware) {
      row.push_back(w.kv_bytes > 0 ? human_bytes(w.kv_bytes) : "does not fit");
      row.push_back(with_commas(static_cast<long long>(w.kv_tokens)));
    }
    table.add(row);
  }
  return table.text();
}

Status inspect(const InspectOptions& o) {
  WS_ASSIGN(Facts facts, gather(o));
  if (o.json) return print_json(json_of(facts));
  WS_RETURN_IF_ERROR(print_out(facts_text(facts) + widths_text(facts)));
  return flush_out();
}

}  // namespace

void add_inspect_command(CLI::App& app, Command& selected) {
  auto* command = app.add_subcommand("inspect", "What a model is, and what each EP width holds");
  auto options = std::make_shared<InspectOptions>();
  InspectOptions& o = *options;
  command->add_option("model", o.path, "model directory or config.json")->required();
  command->add_option("--ep", o.widths, "EP widths")->capture_default_str();
  command->add_option("--hardware", o.hardware, "GPU whose memory the weights and KV share");
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kInspectExamples);
  command->callback([options, &selected] { selected = [options] { return inspect(*options); }; });
}

}  // namespace wingspan
