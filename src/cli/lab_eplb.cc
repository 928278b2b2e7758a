// wingspan lab eplb: a few popular experts on a few ranks, before and after balancing, with the
// bound; then the same on real tokens of a model.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "cli/console.h"
#include "cli/html.h"
#include "cli/lab.h"
#include "cli/lab_eplb_route.h"
#include "cli/table.h"
#include "eplb/plan.h"
#include "eplb_files/formats.h"

namespace wingspan {
namespace {

struct EplbOptions {
  std::string load, model, html;
  int ranks = 4, redundant = -1, layer = -1, shown = 6;
  bool json = false;
};

constexpr const char* kLabEplbExamples = R"(Examples:
  wingspan lab eplb
  wingspan lab eplb --ranks 8 --html eplb.html
  wingspan lab eplb --load tests/goldens/wren/loads/mixed.json --ranks 32
)";

// The model that comes with the repository.
constexpr const char* kBundled = "models/wren";

// One way to place the experts of the list.
struct Scene {
  std::string name, about;
  Topology topology;
  std::vector<int> slots;  // slot_to_expert
  LayerReport report;
  std::vector<double> rank_load;
};

// Numbers separated by spaces, commas or line ends, with or without [ ]; nullopt: something else.
std::optional<std::vector<double>> plain_list(std::string text) {
  for (char& c : text) {
    if (c == '[' || c == ']' || c == ',' || c == '\n' || c == '\r' || c == '\t') c = ' ';
  }
  std::vector<double> out;
  const char* at = text.c_str();
  while (true) {
    at += std::strspn(at, " ");
    if (*at == '\0') break;
    char* end = nullptr;
    const double value = std::strtod(at, &end);
    if (end == at || (*end != ' ' && *end != '\0') || !std::isfinite(value) || value < 0) return {};
    out.push_back(value);
    at = end;
  }
  if (out.empty() || at != text.c_str() + text.size()) return std::nullopt;
  return out;
}

Expected<std::vector<double>> list_of(const EplbOptions& o) {
  if (o.load.empty()) return std::vector<double>{1000, 800, 600, 500, 300, 200, 100, 50};
  if (const auto text = real_files().read_text(o.load, uint64_t{1} << 20)) {
    if (auto list = plain_list(*text)) return std::move(*list);
  }
  WS_ASSIGN(const RecordedLoad recorded,
            read_recorded_load(real_files(), o.load, EplbFormat::kAuto));
  WS_ASSIGN(const CountTable total, recorded.total());
  const auto rows = total.rows();
  if (o.layer < 0) {  // the first with any load
    for (const auto& row : rows) {
      if (std::any_of(row.begin(), row.end(), [](double l) { return l > 0; })) return row;
    }
    return rows[0];
  }
  const auto found = std::find(recorded.layers.begin(), recorded.layers.end(), o.layer);
  if (found == recorded.layers.end()) {
    return invalid_input(fmt::format("the file has no layer {}", o.layer), "--layer");
  }
  return rows[static_cast<size_t>(found - recorded.layers.begin())];
}

Scene scene_of(std::string name, std::string about, const Topology& t, std::vector<int> slots,
               const std::vector<double>& load, double bound) {
  Scene out{std::move(name), std::move(about), t, std::move(slots), {}, {}};
  out.report = report_plan(t, out.slots, load, bound);
  out.rank_load = rank_costs(t, out.slots, ShareModel(load));
  return out;
}

std::vector<Scene> play(const std::vector<double>& load, int ranks, int redundant) {
  const auto experts = static_cast<int>(load.size());
  Topology plain{experts, 1, 1, even_rank_slots(experts, ranks)};
  Topology more{experts, 1, 1, even_rank_slots(experts + redundant, ranks)};
  std::vector<int> in_order(load.size());
  std::iota(in_order.begin(), in_order.end(), 0);
  const LayerPlan moved = plan_layer(plain, load, {}), replicated = plan_layer(more, load, {});
  return {scene_of("naive", "experts in order", plain, in_order, load, moved.lower_bound),
          scene_of("balanced", "experts moved, one slot each", plain, moved.slot_to_expert, load,
                   moved.lower_bound),
          scene_of("balanced, replicas", fmt::format("{} further slots for replicas", redundant),
                   more, replicated.slot_to_expert, load, replicated.lower_bound)};
}

std::string experts_on(const Scene& scene, int rank) {
  const auto first = static_cast<size_t>(scene.topology.first_slot(rank));
  const auto count = static_cast<size_t>(scene.topology.rank_slots[static_cast<size_t>(rank)]);
  std::vector<int> own(scene.slots.begin() + static_cast<std::ptrdiff_t>(first),
                       scene.slots.begin() + static_cast<std::ptrdiff_t>(first + count));
  std::sort(own.begin(), own.end());
  constexpr size_t kMost = 12;
  if (own.size() <= kMost) return fmt::format("{}", fmt::join(own, " "));
  own.resize(kMost);
  return fmt::format("{} … ({} slots)", fmt::join(own, " "), count);
}

std::string rank_tables(const std::vector<Scene>& scenes) {
  std::string out;
  for (const Scene& scene : scenes) {
    out += fmt::format("\n{} — {}\n", scene.name, scene.about);
    Table table({"rank", "experts", "load", "bar"}, {0, 1, 3});
    const double most = scenes[0].report.max_rank_load;
    for (int rank = 0; rank < scene.topology.ranks(); ++rank) {
      const double load = scene.rank_load[static_cast<size_t>(rank)];
      table.add({std::to_string(rank), experts_on(scene, rank), fmt::format("{:.6g}", load),
                 bar(most > 0 ? std::min(1.0, load / most) : 0, 40)});
    }
    out += table.text();
  }
  return out;
}

Table summary(const std::vector<Scene>& scenes) {
  Table table({"placement", "max rank load", "mean", "balancedness", "lower bound", "gap"});
  for (const Scene& s : scenes) {
    table.add({s.name, fmt::format("{:.6g}", s.report.max_rank_load),
               fmt::format("{:.6g}", s.report.mean_rank_load),
               fmt::format("{:.4f}", s.report.balancedness),
               fmt::format("{:.6g}", s.report.lower_bound),
               fmt::format("{:.2f} %", 100 * s.report.gap)});
  }
  return table;
}

// The ranks that hold each of the experts: "3" or, with replicas, "3/7".
std::string ranks_of(const Placement& p, int layer, const std::vector<int32_t>& experts) {
  std::string out;
  const LayerPlacement* own = p.find_layer(layer);
  for (const int32_t e : experts) {
    out += out.empty() ? "" : " ";
    bool first = true;
    for (size_t s = 0; s < own->slot_to_expert.size(); ++s) {
      if (own->slot_to_expert[s] != e) continue;
      out += fmt::format("{}{}", first ? "" : "/", p.topology.rank_of_slot(static_cast<int>(s)));
      first = false;
    }
  }
  return out;
}

Table token_table(const MovedTokens& moved, size_t most) {
  Table table({"token", "experts before", "experts after", "on ranks before", "on ranks after"},
              {0, 1, 2, 3, 4});
  for (size_t t = 0; t < moved.tokens.size() && t < most; ++t) {
    const MovedToken& token = moved.tokens[t];
    std::string text = token.text;
    std::replace(text.begin(), text.end(), '\n', ' ');
    table.add({"\"" + text + "\"", fmt::format("{}", fmt::join(token.experts_before, " ")),
               fmt::format("{}", fmt::join(token.experts_after, " ")),
               ranks_of(moved.before, moved.layer, token.experts_before),
               ranks_of(moved.after, moved.layer, token.experts_after)});
  }
  return table;
}

std::string verdict(const MovedTokens& m) {
  return fmt::format(
      "{} of {} choices of experts are the same; {} rows of logits and all ids compared: {} bits "
      "differ.\nBalancedness over {} ranks, mean over layers: {:.3f} before, {:.3f} after.\n",
      m.same_choices, m.choices, m.compared_rows, m.differing_bits, m.before.topology.ranks(),
      m.balancedness_before, m.balancedness_after);
}

OrderedJson json_of(const std::vector<double>& load, const std::vector<Scene>& scenes,
                    const std::optional<MovedTokens>& moved) {
  OrderedJson doc = {{"load", load}, {"placements", OrderedJson::array()}};
  for (const Scene& s : scenes) {
    doc["placements"].push_back({{"name", s.name},
                                 {"slot_to_expert", s.slots},
                                 {"rank_load", s.rank_load},
                                 {"max_rank_load", s.report.max_rank_load},
                                 {"mean_rank_load", s.report.mean_rank_load},
                                 {"balancedness", s.report.balancedness},
                                 {"lower_bound", s.report.lower_bound},
                                 {"gap", s.report.gap}});
  }
  doc["routing"] = nullptr;
  if (!moved) return doc;
  OrderedJson tokens = OrderedJson::array();
  for (const MovedToken& t : moved->tokens) {
    tokens.push_back({{"token", t.text},
                      {"experts_before", t.experts_before},
                      {"experts_after", t.experts_after},
                      {"ranks_before", ranks_of(moved->before, moved->layer, t.experts_before)},
                      {"ranks_after", ranks_of(moved->after, moved->layer, t.experts_after)}});
  }
  doc["routing"] = {{"layer", moved->layer},
                    {"choices", moved->choices},
                    {"same_choices", moved->same_choices},
                    {"compared_rows", moved->compared_rows},
                    {"differing_bits", moved->differing_bits},
                    {"balancedness_before", moved->balancedness_before},
                    {"balancedness_after", moved->balancedness_after},
                    {"tokens", tokens}};
  return doc;
}

std::string page_of(const std::vector<Scene>& scenes, const std::optional<MovedTokens>& moved) {
  std::string body =
      "<p>The same experts with the same popularity, placed in three ways. The slowest rank sets "
      "the pace: no placement under the rules has a busiest rank below the lower bound.</p>" +
      html_table(summary(scenes));
  for (const Scene& s : scenes) {
    Bars bars;
    for (size_t r = 0; r < s.rank_load.size(); ++r) {
      bars.labels.push_back("rank " + std::to_string(r));
      bars.values.push_back(s.rank_load[r]);
      bars.texts.push_back(
          fmt::format("{:.6g}: experts {}", s.rank_load[r], experts_on(s, static_cast<int>(r))));
    }
    bars.labels.emplace_back("lower bound");
    bars.values.push_back(s.report.lower_bound);
    bars.texts.push_back(fmt::format("{:.6g}", s.report.lower_bound));
    body += "<h2>" + escape_html(s.name + " — " + s.about) + "</h2>" + html_bars(bars);
  }
  if (moved) {
    body += "<h2>Real tokens before and after</h2><p>" + escape_html(verdict(*moved)) + "</p>" +
            html_table(token_table(*moved, 24));
    for (const bool after : {false, true}) {
      HeatMap map;
      map.columns = "rank";
      map.values = after ? moved->rank_load_after : moved->rank_load_before;
      for (const auto& layer : moved->before.layers)
        map.rows.push_back(std::to_string(layer.layer));
      body += fmt::format("<h2>Tokens by layer and rank, {}</h2>", after ? "after" : "before") +
              html_heat_map(map);
    }
  }
  return html_page("EPLB: popular experts on a few ranks", body);
}

Status eplb(const EplbOptions& o) {
  quiet_notes();
  WS_ASSIGN(const std::vector<double> load, list_of(o));
  const int redundant = o.redundant >= 0 ? o.redundant : o.ranks;
  const auto scenes = play(load, o.ranks, redundant);
  std::optional<MovedTokens> moved;
  const bool bundled =
      o.model.empty() && real_files().exists(std::string(kBundled) + "/config.json");
  if (const std::string model = bundled ? kBundled : o.model; !model.empty()) {
    WS_ASSIGN(moved, run_moved_tokens(model, o.ranks, redundant));
  }
  if (!o.html.empty()) {
    WS_RETURN_IF_ERROR(real_files().write_text(o.html, page_of(scenes, moved)));
  }
  Status done;
  if (o.json) {
    done = print_json(json_of(load, scenes, moved));
  } else {
    std::string text = fmt::format("{} experts on {} ranks; a replica carries an equal part.\n",
                                   load.size(), o.ranks);
    text += rank_tables(scenes) + "\n" + summary(scenes).text();
    if (moved) {
      text +=
          fmt::format("\nReal tokens, layer {}\n{}\n{}", moved->layer,
                      token_table(*moved, static_cast<size_t>(o.shown)).text(), verdict(*moved));
    } else {
      text +=
          "\nBalancing changes where an expert lives, never which expert a token uses; --model "
          "models/wren shows it on real tokens.\n";
    }
    done = print_out(text);
  }
  WS_RETURN_IF_ERROR(done);
  if (moved && (moved->differing_bits > 0 || moved->same_choices != moved->choices)) {
    return failed("the tokens differ between the two placements", o.model);
  }
  return flush_out();
}

}  // namespace

void add_lab_eplb(CLI::App& lab, Command& selected) {
  auto* command =
      lab.add_subcommand("eplb", "Popular experts on a few ranks: before, after, bound");
  auto options = std::make_shared<EplbOptions>();
  EplbOptions& o = *options;
  command->add_option("--load", o.load,
                      "numbers separated by spaces or commas, or any file of loads; default: "
                      "1000 800 600 500 300 200 100 50");
  command->add_option("--layer", o.layer, "layer of the file; default: the first with load")
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--ranks", o.ranks, "ranks")
      ->check(CLI::Range(1, kMaxRanks))
      ->capture_default_str();
  command->add_option("--redundant", o.redundant, "slots for replicas; default: one a rank")
      ->check(CLI::Range(0, 1 << 16));
  command->add_option(
      "--model", o.model,
      "route real tokens of this model before and after; default: models/wren, if there");
  command->add_option("--tokens", o.shown, "tokens to show")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--html", o.html, "write a self-contained page");
  command->add_flag("--json", o.json, "one JSON document on stdout");
  command->footer(kLabEplbExamples);
  command->callback([options, &selected] { selected = [options] { return eplb(*options); }; });
}

}  // namespace wingspan
