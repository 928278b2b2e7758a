// wingspan lab route: the same router logits through a flat pool, groups, and a hierarchy.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cli/console.h"
#include "cli/html.h"
#include "cli/lab.h"
#include "cli/prompts.h"
#include "cli/session.h"
#include "cli/table.h"

namespace wingspan {
namespace {

struct RouteOptions {
  ModelOptions model;
  std::string prompt;
  int layer = -1, groups = 0, top_groups = 0, shown = 6;
  int ranks = 8;
  std::string html;
  bool json = false;
};

constexpr const char* kLabRouteExamples = R"(Examples:
  wingspan lab route --model models/wren
  wingspan lab route --model models/wren --prompt "def main():" --groups 16 --html route.html
)";

// The router's logits of each position, as the forward pass computed them.
struct LogitSink final : RunSink {
  int layer = 0;
  std::map<int64_t, std::vector<float>> rows;
  void on_router_logits(int /*request*/, int64_t position, int at,
                        std::span<const float> logits) override {
    if (at == layer) rows[position].assign(logits.begin(), logits.end());
  }
};

struct Choice {
  std::vector<int32_t> experts;
  std::vector<float> weights;
};
struct Routing {
  std::string name, rule;
  RouterSpec spec;
  std::vector<Choice> tokens;
  std::vector<int64_t> load;  // by expert
  double groups_touched = 0;  // mean over tokens
  double balancedness = 1;    // of ranks that hold the experts in order
};

std::vector<Routing> make_routers(const RouterSpec& own, int groups, int top_groups) {
  RouterSpec flat = own;
  flat.group_score = GroupScore::kNone;
  flat.groups = flat.top_groups = 1;
  RouterSpec grouped = own;
  grouped.group_score =
      own.group_score == GroupScore::kNone
          ? (own.scoring == Scoring::kSigmoid ? GroupScore::kTop2Sum : GroupScore::kMax)
          : own.group_score;
  grouped.groups = groups;
  grouped.top_groups = top_groups;
  RouterSpec hierarchy = grouped;
  hierarchy.per_group = (own.top_k + top_groups - 1) / top_groups;
  return {{"flat", fmt::format("top-{} of {}", own.top_k, own.experts), flat, {}, {}, 0, 1},
          {"groups",
           fmt::format("{} of {} groups, then top-{} in them", top_groups, groups, own.top_k),
           grouped,
           {},
           {},
           0,
           1},
          {"hierarchy",
           fmt::format("{} of {} groups, then {} in each", top_groups, groups, hierarchy.per_group),
           hierarchy,
           {},
           {},
           0,
           1}};
}

Status route_all(Routing& routing, const LogitSink& logits, const std::vector<float>& bias,
                 const Kernels& kernels, int groups, int ranks) {
  WS_RETURN_IF_ERROR(routing.spec.validate());
  const RouterSpec& spec = routing.spec;
  routing.load.assign(static_cast<size_t>(spec.experts), 0);
  std::vector<float> scratch(static_cast<size_t>(spec.experts) * 3);
  const auto k = static_cast<size_t>(spec.top_k);
  for (const auto& [position, row] : logits.rows) {
    Choice c{std::vector<int32_t>(k), std::vector<float>(k)};
    route_token(kernels, spec, row.data(), bias.empty() ? nullptr : bias.data(), c.experts.data(),
                c.weights.data(), scratch.data());
    std::vector<bool> touched(static_cast<size_t>(groups));
    for (const int32_t e : c.experts) {
      ++routing.load[static_cast<size_t>(e)];
      touched[static_cast<size_t>(e / (spec.experts / groups))] = true;
    }
    routing.groups_touched += static_cast<double>(std::count(touched.begin(), touched.end(), true));
    routing.tokens.push_back(std::move(c));
  }
  routing.groups_touched /= static_cast<double>(std::max<size_t>(1, routing.tokens.size()));
  const Placement p = contiguous_placement(spec.experts, {0}, ranks);
  routing.balancedness = report_layer(p.topology, p.layers[0], routing.load).balancedness;
  return {};
}

// One character a column of experts: how many of the chosen fall there.
std::string strip(const std::vector<int32_t>& experts, int total, int width) {
  std::vector<int> count(static_cast<size_t>(width));
  for (const int32_t e : experts)
    ++count[static_cast<size_t>(static_cast<int64_t>(e) * width / total)];
  std::string out;
  for (const int n : count) out += n == 0 ? "·" : n == 1 ? "▂" : n == 2 ? "▅" : "█";
  return out;
}

std::string shown_token(const TextModel& text, int32_t id) {
  if (!text.has_tokenizer()) return std::to_string(id);
  auto decoded = text.tokenizer().decode(std::vector<int32_t>{id}, false);
  std::string out = decoded ? *decoded : std::to_string(id);
  for (size_t at = out.find('\n'); at != std::string::npos; at = out.find('\n'))
    out.replace(at, 1, "⏎");
  return "\"" + out + "\"";
}

Status print_text(const RouteOptions& o, const std::vector<Routing>& routers, const TextModel& text,
                  const std::vector<int32_t>& ids, int layer) {
  constexpr int kWidth = 64;
  std::string out =
      fmt::format("Layer {}, {} tokens. Each column of a bar is {} neighbouring experts.\n", layer,
                  ids.size(), (routers[0].spec.experts + kWidth - 1) / kWidth);
  for (const Routing& r : routers) {
    out += fmt::format("\n{} — {}\n", r.name, r.rule);
    Table table({"token", "experts chosen (bar)", "experts, best first"}, {0, 1, 2});
    for (size_t t = 0; t < r.tokens.size() && static_cast<int>(t) < o.shown; ++t) {
      table.add({shown_token(text, ids[t]), strip(r.tokens[t].experts, r.spec.experts, kWidth),
                 fmt::format("{}", fmt::join(r.tokens[t].experts, " "))});
    }
    out += table.text();
  }
  Table sum({"router", "groups a token touches", "busiest expert", "experts without a token",
             fmt::format("balancedness, {} ranks", o.ranks)});
  for (const Routing& r : routers) {
    sum.add({r.name, fmt::format("{:.2f}", r.groups_touched),
             std::to_string(*std::max_element(r.load.begin(), r.load.end())),
             std::to_string(std::count(r.load.begin(), r.load.end(), 0)),
             fmt::format("{:.3f}", r.balancedness)});
  }
  out +=
      "\n" + sum.text() +
      "\nGroups bound how many nodes a token can travel to; the hierarchy also spreads it evenly "
      "over them.\n";
  WS_RETURN_IF_ERROR(print_out(out));
  return flush_out();
}

OrderedJson json_of(const std::vector<Routing>& routers, int layer) {
  OrderedJson doc;
  doc["layer"] = layer;
  doc["routers"] = OrderedJson::array();
  for (const Routing& r : routers) {
    OrderedJson tokens = OrderedJson::array();
    for (const Choice& c : r.tokens)
      tokens.push_back({{"experts", c.experts}, {"weights", c.weights}});
    doc["routers"].push_back({{"name", r.name},
                              {"rule", r.rule},
                              {"groups_touched", r.groups_touched},
                              {"balancedness", r.balancedness},
                              {"load", r.load},
                              {"tokens", tokens}});
  }
  return doc;
}

std::string html_of(const std::vector<Routing>& routers, int layer) {
  std::string body = fmt::format(
      "<p>The router logits of real tokens, at layer {} of the model, through three routers. A row "
      "is a "
      "token, a column an expert; dark cells have the larger weight.</p>\n",
      layer);
  for (const Routing& r : routers) {
    HeatMap map;
    map.columns = "experts 0 … " + std::to_string(r.spec.experts - 1);
    for (size_t t = 0; t < r.tokens.size() && t < 32; ++t) {
      map.rows.push_back("token " + std::to_string(t));
      std::vector<double> row(static_cast<size_t>(r.spec.experts));
      for (size_t j = 0; j < r.tokens[t].experts.size(); ++j) {
        row[static_cast<size_t>(r.tokens[t].experts[j])] =
            static_cast<double>(r.tokens[t].weights[j]);
      }
      map.values.push_back(std::move(row));
    }
    body += "<h2>" + escape_html(r.name + " — " + r.rule) + "</h2>\n" + html_heat_map(map);
    HeatMap load{{"tokens"}, "load by expert", {{r.load.begin(), r.load.end()}}};
    body += html_heat_map(load);
    body += fmt::format(
        "<p class=\"note\">A token touches {:.2f} groups on average; balancedness {:.3f}.</p>\n",
        r.groups_touched, r.balancedness);
  }
  return html_page("Routing: flat, grouped, hierarchical", body);
}

// The correction bias of one layer; empty where the model has none.
Expected<std::vector<float>> bias_of(const SessionSetup& setup, const ModelHost& host, int layer) {
  if (!setup.config.moe.router_bias) return std::vector<float>{};
  return host.weights->layers[static_cast<size_t>(layer)].moe->bias;
}

Status route(const RouteOptions& o) {
  quiet_notes();
  WS_ASSIGN(SessionSetup setup, prepare_session(o.model));
  const RouterSpec& own = setup.config.moe.router;
  const auto layers = setup.config.moe_layers();
  if (layers.empty()) return invalid_input("the model has no experts", o.model.model);
  const int layer = o.layer >= 0 ? o.layer : layers[layers.size() / 2];
  if (std::find(layers.begin(), layers.end(), layer) == layers.end()) {
    return invalid_input(fmt::format("layer {} has no experts", layer), "--layer",
                         fmt::format("use {} to {}", layers.front(), layers.back()));
  }
  const int groups = o.groups > 0 ? o.groups : own.groups > 1 ? own.groups : 8;
  const int top_groups = o.top_groups > 0 ? o.top_groups : own.groups > 1 ? own.top_groups : 4;
  if (own.experts % groups != 0) {
    return invalid_input(
        fmt::format("{} experts are not divisible by {} groups", own.experts, groups), "--groups");
  }
  WS_ASSIGN(TextModel text, TextModel::load(real_files(), o.model.model));
  PromptOptions source;
  source.texts = {o.prompt.empty()
                      ? "Question: A train leaves at 8 and rides 3 hours. When does it arrive?"
                      : o.prompt};
  WS_ASSIGN(auto prompts, read_prompts(source, text));
  Request request;
  request.prompt = prompts[0].ids;
  WS_RETURN_IF_ERROR(check_requests(setup.config, {request}, prompts));
  LogitSink logits;
  logits.layer = layer;
  RunOptions run;
  run.capture.router_logits = true;
  const SessionLimits limits = limits_for(setup, {request}, 1);
  WS_ASSIGN(auto host, load_session(setup, limits));
  WS_RETURN_IF_ERROR(run_ranks(setup, host, limits, [&](RankContext& rank) -> Status {
    WS_ASSIGN(const RunReport report, rank.engine.run({request}, run, logits));
    return {};
  }));
  WS_ASSIGN(auto bias, bias_of(setup, *host, layer));
  auto routers = make_routers(own, groups, top_groups);
  for (Routing& r : routers) {
    WS_RETURN_IF_ERROR(route_all(r, logits, bias, *setup.kernels, groups, o.ranks));
  }
  if (!o.html.empty()) {
    WS_RETURN_IF_ERROR(real_files().write_text(o.html, html_of(routers, layer)));
  }
  if (o.json) return print_json(json_of(routers, layer));
  return print_text(o, routers, text, request.prompt, layer);
}

}  // namespace

void add_lab_route(CLI::App& lab, Command& selected) {
  auto* command =
      lab.add_subcommand("route", "Tokens → top-k of a flat pool, of groups, of a hierarchy");
  auto options = std::make_shared<RouteOptions>();
  RouteOptions& o = *options;
  command->add_option("--model", o.model.model, "model directory")->required();
  command->add_option("--prompt", o.prompt, "text whose tokens are routed");
  command->add_option("--layer", o.layer, "MoE layer; default: the middle one")
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--groups", o.groups, "groups of experts; default: the model's, else 8")
      ->check(CLI::Range(1, 1 << 16));
  command->add_option("--top-groups", o.top_groups, "groups kept; default: the model's, else 4")
      ->check(CLI::Range(1, 1 << 16));
  command->add_option("--tokens", o.shown, "tokens to show")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--ep", o.ranks, "ranks for the balancedness")
      ->check(CLI::Range(1, kMaxRanks))
      ->capture_default_str();
  command->add_option("--html", o.html, "write a self-contained page");
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kLabRouteExamples);
  command->callback([options, &selected] { selected = [options] { return route(*options); }; });
}

}  // namespace wingspan
