#include "cli/lab_eplb_route.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "cli/console.h"
#include "cli/verify_run.h"
#include "cli/width_run.h"
#include "eplb/plan.h"

namespace wingspan {
namespace {

// One domain's text, so that the load is skewed.
constexpr const char* kPrompts[] = {
    "Question: A train leaves at 8 and rides 3 hours. When does it arrive?",
    "Question: Natalia has 12 apples and gives away 5. How many are left?",
    "Question: A box holds 6 eggs. How many eggs are in 7 boxes?",
    "Question: Tom reads 15 pages a day. How many pages does he read in 4 days?"};
constexpr int64_t kNewTokens = 16;

struct ServedLoad {
  Shown shown;
  std::map<std::tuple<int, int64_t, int>, std::vector<int32_t>>
      experts;  // request, position, layer
  Load load;
};

class Keeper final : public RunSink {
 public:
  explicit Keeper(ServedLoad& run) : run_(run) {}
  void on_logits(int request, int64_t position, std::span<const float> row) override {
    run_.shown.logits[{request, position}].assign(row.begin(), row.end());
  }
  void on_routing(int request, int64_t position, int layer, std::span<const int32_t> experts,
                  std::span<const float> /*weights*/) override {
    run_.experts[{request, position, layer}].assign(experts.begin(), experts.end());
  }

 private:
  ServedLoad& run_;
};

Expected<ServedLoad> run_with(SessionSetup setup, const std::shared_ptr<const ModelHost>& host,
                              const Placement& placement, const std::vector<Request>& requests) {
  setup.mpi = false;
  setup.ranks = placement.topology.ranks();
  setup.threads_per_rank = 1;
  setup.placement = placement;
  ServedLoad run;
  RunOptions options;
  options.capture = {.logits = true, .prompt_logits = true, .routing = true};
  WS_RETURN_IF_ERROR(run_ranks(
      setup, host, limits_for(setup, requests, setup.ranks), [&](RankContext& rank) -> Status {
        Keeper keeper(run);
        RunSink silent;
        const bool first = rank.group.rank() == 0;
        WS_ASSIGN(
            RunReport report,
            rank.engine.run(requests, options, first ? static_cast<RunSink&>(keeper) : silent));
        if (!first) return {};
        run.shown.results = std::move(report.results);
        run.load = std::move(report.load);
        return {};
      }));
  return run;
}

double rank_loads_of(const Placement& placement, const LoadMatrix& rows,
                     std::vector<std::vector<double>>& out) {
  double sum = 0;
  for (size_t l = 0; l < rows.size(); ++l) {
    const auto& slots = placement.layers[l].slot_to_expert;
    out.push_back(rank_costs(placement.topology, slots, ShareModel(rows[l])));
    sum += report_plan(placement.topology, slots, rows[l], 0).balancedness;
  }
  return sum / static_cast<double>(rows.size());
}

std::string text_of(const TextModel& text, int32_t id) {
  if (!text.has_tokenizer()) return std::to_string(id);
  const auto decoded = text.tokenizer().decode(std::vector<int32_t>{id}, false);
  return decoded ? *decoded : std::to_string(id);
}

void compare_runs(const ServedLoad& first, const ServedLoad& second,
                  const std::vector<int32_t>& prompt, const TextModel& text, MovedTokens& out) {
  for (const auto& [key, experts] : first.experts) {
    const auto again = second.experts.find(key);
    const auto other = again == second.experts.end() ? std::vector<int32_t>{} : again->second;
    ++out.choices;
    out.same_choices += experts == other;
    const auto& [request, position, layer] = key;
    if (request != 0 || layer != out.layer || position >= static_cast<int64_t>(prompt.size())) {
      continue;
    }
    out.tokens.push_back({text_of(text, prompt[static_cast<size_t>(position)]), experts, other});
  }
  const Difference difference = compare(first.shown, second.shown);
  out.compared_rows = difference.tokens;
  out.differing_bits = difference.differing_bits;
}

}  // namespace

Expected<MovedTokens> run_moved_tokens(const std::string& model, int ranks, int redundant) {
  ModelOptions options;
  options.model = model;
  WS_ASSIGN(const SessionSetup setup, prepare_session(options));
  const auto layers = setup.config.moe_layers();
  if (layers.empty()) return invalid_input("the model has no experts", model);
  WS_ASSIGN(TextModel text, TextModel::load(real_files(), model));
  PromptOptions source;
  source.texts.assign(std::begin(kPrompts), std::end(kPrompts));
  WS_ASSIGN(const auto prompts, read_prompts(source, text));
  std::vector<Request> requests;
  for (const Prompt& prompt : prompts) {
    Request& request = requests.emplace_back();
    request.prompt = prompt.ids;
    request.max_tokens = kNewTokens;
  }
  WS_RETURN_IF_ERROR(check_requests(setup.config, requests, prompts));
  WS_ASSIGN(const auto host, load_session(setup, limits_for(setup, requests, 1)));
  MovedTokens out;
  out.layer = layers[layers.size() / 2];
  out.before = contiguous_placement(setup.config.moe.router.experts, layers, ranks);
  WS_ASSIGN(const ServedLoad first, run_with(setup, host, out.before, requests));
  LoadMatrix rows;
  WS_ASSIGN(out.after, placement_for(first.load, ranks, redundant, &rows));
  WS_ASSIGN(const ServedLoad second, run_with(setup, host, out.after, requests));
  out.balancedness_before = rank_loads_of(out.before, rows, out.rank_load_before);
  out.balancedness_after = rank_loads_of(out.after, rows, out.rank_load_after);
  compare_runs(first, second, requests[0].prompt, text, out);
  return out;
}

}  // namespace wingspan
